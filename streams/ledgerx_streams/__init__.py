"""Everything behind the outbox: the change-data-capture relay and the Faust stream processors."""
