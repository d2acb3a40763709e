"""Sends the events of the journal to the webhook endpoints of its tenant.

An endpoint stands at a number of the journal, in its row, and the journal has no gaps: what is read from the tables at
that number is the next event, whoever reads it. Messages of Kafka only say that there is news. A worker takes an
endpoint for a turn by a lease, sends one event after the other, and moves the number on when one was delivered or is
given up. Whatever a crash leaves undone is sent again, under the same id.
"""
