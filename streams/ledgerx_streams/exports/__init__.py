"""Files of a tenant's data: what they hold, how it is written, and who writes it."""
