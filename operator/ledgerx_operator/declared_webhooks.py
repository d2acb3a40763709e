"""The webhooks of a LedgerTenant: endpoints in its database, whose secrets go into the connection Secret."""

import base64
from collections.abc import Sequence
from uuid import UUID

from ledgerx import webhooks
from ledgerx.audit import SYSTEM
from ledgerx.database import Connection
from ledgerx.outbound import Network
from ledgerx.sealing import SealingKeys, decode_sealing_keys
from ledgerx_operator.cluster import Cluster
from ledgerx_operator.failures import NotYet
from ledgerx_operator.names import KEYS, SEALING_KEYS
from ledgerx_operator.specs import Webhook


async def keep_webhooks(
    cluster: Cluster, connection: Connection, tenant_id: UUID, wanted: Sequence[Webhook], networks: tuple[Network, ...]
) -> dict[str, str]:
    """Have these endpoints, and none that were declared before; returns what the connection Secret says of them.

    Raises `NotYet` without the platform's keys, `InvalidField` and `TooManyWebhooks`.
    """
    for one in wanted:
        webhooks.check_url(one.url, networks)
    await webhooks.remove_other_endpoints(connection, tenant_id, [one.name for one in wanted], author=SYSTEM)
    if not wanted:
        return {}
    keys = await _sealing_keys(cluster)
    return {
        f"webhook-{one.name}": await webhooks.ensure_endpoint(
            connection, tenant_id, one.name, one.target(), keys=keys, author=SYSTEM
        )
        for one in wanted
    }


async def _sealing_keys(cluster: Cluster) -> SealingKeys:
    secret = await cluster.read_secret(cluster.namespace, KEYS)
    try:
        return decode_sealing_keys(base64.b64decode(((secret and secret.data) or {})[SEALING_KEYS]))
    except (KeyError, ValueError):
        raise NotYet("KeysMissing", f"the operator's Secret {KEYS} has no keys in {SEALING_KEYS}") from None
