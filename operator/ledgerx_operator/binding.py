"""Connection Secrets: an API client of a tenant in the layout of servicebinding.io, and how its secret rotates.

The database decides what is a secret of the client; the Secret in the cluster has to hold one of them. Whatever it
holds otherwise, by hand or after a crash halfway, is replaced by a fresh one. The secret before stays good for a while.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.core_v1 import Secret

from ledgerx import tenancy
from ledgerx.audit import SYSTEM
from ledgerx.database import Connection
from ledgerx.tenancy import MAX_SECRETS, ClientSecret
from ledgerx_operator.cluster import Cluster
from ledgerx_operator.failures import NotYet, Refusal
from ledgerx_operator.names import GROUP, MANAGED_BY, OPERATOR, ROTATE_AT, ROTATED_FOR, SECRET_TYPE, VERSION

_PORTS = {"http": 80, "https": 443}


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A Secret to keep, and whose it is: `kind`, `owner_name` and `owner_uid` are the object's in `namespace`.

    `more` goes into it beside the client.
    """

    namespace: str
    name: str
    kind: str
    owner_name: str
    owner_uid: str
    tenant_id: UUID
    client_id: str
    api_url: str
    more: Mapping[str, str] = msgspec.field(default_factory=dict)

    def data(self, client_secret: str) -> dict[str, str]:
        """What an application gets, as servicebinding.io wants it."""
        parts = urlsplit(self.api_url)
        return {
            "type": "ledgerx",
            "provider": "ledgerx",
            "uri": self.api_url,
            "host": parts.hostname or "",
            "port": str(parts.port or _PORTS.get(parts.scheme, 443)),
            "tenant": str(self.tenant_id),
            "client-id": self.client_id,
            "client-secret": client_secret,
            **self.more,
        }


def rotation_wanted(annotations: Mapping[str, str], rotated_for: str | None, *, now: datetime) -> str | None:
    """The value of `ledgerx.io/rotate-at` when its time has come and the Secret was not made for it.

    Raises `Refusal` for what is no time.
    """
    wanted = annotations.get(ROTATE_AT)
    if wanted is None or wanted == rotated_for:
        return None
    try:
        moment = datetime.fromisoformat(wanted)
    except ValueError:
        raise Refusal("InvalidRotateAt", f"{ROTATE_AT} is not a time such as 2030-01-31T12:00:00Z") from None
    return wanted if moment.replace(tzinfo=moment.tzinfo or UTC) <= now else None


def outdated(
    secrets: Sequence[ClientSecret], current: ClientSecret, *, now: datetime, overlap: timedelta
) -> list[ClientSecret]:
    """The secrets to end: those replaced `overlap` ago, and younger ones that never reached the cluster."""
    expired = current.created_at + overlap <= now
    return [one for one in secrets if one != current and (expired or one.created_at > current.created_at)]


async def keep_binding(
    cluster: Cluster,
    connection: Connection,
    binding: Binding,
    annotations: Mapping[str, str],
    *,
    overlap_s: int,
) -> None:
    """Have the Secret as `binding` says, with a client secret that is good.

    Raises `NotYet` where a Secret of that name is somebody else's, and `Refusal` for an annotation that is no time.
    """
    before = await cluster.read_secret(binding.namespace, binding.name)
    if before is not None and not _is_ours(before, binding):
        raise NotYet("SecretTaken", f"there is a Secret {binding.name} that the operator did not make for this object")
    known = decoded(before)
    rotated_for = _annotations(before).get(ROTATED_FOR)
    given = known.get("client-secret", "")
    secrets, current = await tenancy.read_secrets(connection, binding.tenant_id, binding.client_id, given)
    now = datetime.now(UTC)
    rotation = rotation_wanted(annotations, rotated_for, now=now)
    if current is None or rotation is not None:
        if len(secrets) >= MAX_SECRETS:
            oldest = next(one for one in secrets if one != current)
            await _end(connection, binding, oldest)
        _, given = await tenancy.add_secret(connection, binding.tenant_id, binding.client_id, SYSTEM)
        await _write(cluster, binding, before, given, rotation or rotated_for)
        return
    if known != binding.data(given) or _labels(before) != _labels_of_ours():
        await _write(cluster, binding, before, given, rotated_for)
    for secret in outdated(secrets, current, now=now, overlap=timedelta(seconds=overlap_s)):
        await _end(connection, binding, secret)


async def _end(connection: Connection, binding: Binding, secret: ClientSecret) -> None:
    await tenancy.delete_secret(connection, binding.tenant_id, binding.client_id, secret.secret_id, SYSTEM)


async def _write(
    cluster: Cluster, binding: Binding, before: Secret | None, client_secret: str, rotated_for: str | None
) -> None:
    owner = OwnerReference(
        apiVersion=f"{GROUP}/{VERSION}",
        kind=binding.kind,
        name=binding.owner_name,
        uid=binding.owner_uid,
        controller=True,
        blockOwnerDeletion=False,
    )
    metadata = ObjectMeta(
        name=binding.name,
        namespace=binding.namespace,
        labels=_labels_of_ours(),
        annotations={} if rotated_for is None else {ROTATED_FOR: rotated_for},
        ownerReferences=[owner],
    )
    data = {key: base64.b64encode(value.encode()).decode() for key, value in binding.data(client_secret).items()}
    await cluster.write_secret(before, Secret(metadata=metadata, type=SECRET_TYPE, data=data))


def _is_ours(secret: Secret, binding: Binding) -> bool:
    owners = (secret.metadata.ownerReferences if secret.metadata else None) or []
    return any(owner.uid == binding.owner_uid for owner in owners)


def _labels_of_ours() -> dict[str, str]:
    return {MANAGED_BY: OPERATOR}


def _labels(secret: Secret | None) -> Mapping[str, str]:
    labels = (secret.metadata.labels if secret is not None and secret.metadata else None) or {}
    return {key: value for key, value in labels.items() if key == MANAGED_BY}


def _annotations(secret: Secret | None) -> Mapping[str, str]:
    return (secret.metadata.annotations if secret is not None and secret.metadata else None) or {}


def decoded(secret: Secret | None) -> dict[str, str]:
    """What a Secret holds; what is no text counts as empty."""
    held = {}
    for key, value in ({} if secret is None else secret.data or {}).items():
        try:
            held[key] = base64.b64decode(value).decode()
        except ValueError:
            held[key] = ""
    return held
