"""PostgreSQL and Kafka as child processes, so that one command runs the whole platform on a bare machine."""
