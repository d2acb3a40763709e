"""How the operator gets into a database as its administrator: by a URL in a Secret, or as a role of CloudNativePG.

CloudNativePG makes roles that its Cluster lists (`spec.managed.roles`), with passwords out of Secrets. Ours may make
the platform's other roles, and belongs to the owner of the database, so that it may make the schema there.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ledgerx.databases import SCHEMES
from ledgerx_operator.binding import decoded
from ledgerx_operator.cluster import Cluster
from ledgerx_operator.failures import NotYet
from ledgerx_operator.specs import CnpgCluster, DatabaseSpec, SecretKey

CNPG_ROLE = "ledgerx_admin"
# What initdb of CloudNativePG calls database and owner unless told otherwise.
_CNPG_DEFAULT = "app"
_BASIC_AUTH = "kubernetes.io/basic-auth"


async def admin_url(cluster: Cluster, name: str, spec: DatabaseSpec) -> str:
    """The libpq URL of the administrator of the LedgerDatabase `name`. Raises `NotYet`."""
    if spec.admin_secret_ref is not None:
        return await _in_secret(cluster, spec.admin_secret_ref)
    if spec.cnpg_cluster_ref is not None:
        return await _in_cnpg(cluster, name, spec.cnpg_cluster_ref)
    raise TypeError("the schema lets no database through without either")


def cnpg_role(owner: str, password_secret: str) -> dict[str, Any]:
    """The entry of `managed.roles` that the operator needs, in a database of `owner`."""
    return {
        "name": CNPG_ROLE,
        "ensure": "present",
        "comment": "Migrates the ledger and makes its roles",
        "login": True,
        "createrole": True,
        "replication": True,
        "inRoles": [owner],
        "passwordSecret": {"name": password_secret},
    }


def with_role(roles: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """The roles with `wanted` among them, as it is to be; None where it is."""
    for number, role in enumerate(roles):
        if role.get("name") == wanted["name"]:
            if role.items() >= wanted.items():
                return None
            return [*roles[:number], {**role, **wanted}, *roles[number + 1 :]]
    return [*roles, wanted]


async def _in_secret(cluster: Cluster, reference: SecretKey) -> str:
    secret = await cluster.read_secret(cluster.namespace, reference.name)
    value = None if secret is None else (secret.data or {}).get(reference.key)
    if value is None:
        raise NotYet("AdminSecretMissing", f"there is no Secret {reference.name} with a key {reference.key}")
    try:
        url = base64.b64decode(value).decode().strip()
    except ValueError:
        url = ""
    if not url.startswith(SCHEMES):
        raise NotYet("AdminSecretInvalid", f"{reference.key} of the Secret {reference.name} is no postgresql:// URL")
    return url


async def _in_cnpg(cluster: Cluster, name: str, reference: CnpgCluster) -> str:
    found = await cluster.read_cnpg_cluster(reference.name)
    if found is None:
        raise NotYet("ClusterMissing", f"there is no Cluster {reference.name} of CloudNativePG in this namespace")
    spec = found["spec"]
    made = (spec.get("bootstrap") or {}).get("initdb") or {}
    database = reference.database or made.get("database") or _CNPG_DEFAULT
    owner = reference.owner or made.get("owner") or database
    secret_name = f"{name}-cnpg-admin"
    fresh = {"username": CNPG_ROLE.encode(), "password": secrets.token_urlsafe(32).encode()}
    # With the label the password of the role follows the Secret.
    await cluster.make_secret(secret_name, fresh, kind=_BASIC_AUTH, labels={"cnpg.io/reload": "true"})
    password = decoded(await cluster.read_secret(cluster.namespace, secret_name)).get("password", "")
    roles = with_role((spec.get("managed") or {}).get("roles") or [], cnpg_role(owner, secret_name))
    if roles is not None:
        await cluster.set_cnpg_roles(found, roles)
    host = f"{reference.name}-rw.{cluster.namespace}.svc"
    return f"postgresql://{CNPG_ROLE}:{password}@{host}:5432/{database}?sslmode=require"
