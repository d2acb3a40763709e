"""Where the command and the tests find `ledgerx.logins`."""

from ledgerx.logins import ROLES, Database, set_passwords

__all__ = ["ROLES", "Database", "set_passwords"]
