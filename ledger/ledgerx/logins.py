"""The platform's own roles on one database: their passwords and URLs."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import msgspec
import psycopg
from psycopg import sql

ROLES = ("owner", "api", "streams", "relay")


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """libpq URLs of one database: the administrator's and those of the platform's roles."""

    admin_url: str
    owner_url: str
    api_url: str
    streams_url: str
    relay_url: str

    def __repr__(self) -> str:
        return "Database(***)"


def set_passwords(admin_url: str, passwords: Mapping[str, str]) -> Database:
    """Give each of `ROLES` its password and return the URLs. Raises `psycopg.Error`."""
    urls = {f"{role}_url": url for role, url in set_some_passwords(admin_url, passwords).items()}
    return Database(admin_url=admin_url, **urls)


def set_some_passwords(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Give some of `ROLES` their passwords and return their URLs. The server gets to see SCRAM verifiers only.

    Raises `psycopg.Error`.
    """
    with psycopg.connect(admin_url) as connection:
        for role, password in passwords.items():
            name = f"ledgerx_{role}"
            verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier)))
    return {role: role_url(admin_url, role, password) for role, password in passwords.items()}


def role_url(admin_url: str, role: str, password: str) -> str:
    """The URL of one of `ROLES` on the administrator's database."""
    parts = urlsplit(admin_url)
    server = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"ledgerx_{role}:{quote(password, safe='')}@{server}").geturl()
