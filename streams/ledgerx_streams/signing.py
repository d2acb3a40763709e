"""Signs checkpoints of the tenants whose trees have grown: the only part that has the keys for it.

Any number of workers may do so: a tree is locked while it is signed, and passed over by the others.
"""

from collections.abc import Mapping
from uuid import UUID

import msgspec
import psycopg
import structlog
from prometheus_client import Counter

from ledgerx import findings, tiles
from ledgerx.checkpoints import BalanceStatement, decode_lines, encode_statement, signed, tile_parameters
from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.findings import Finding
from ledgerx.keys import Keyset
from ledgerx.merkle import HASH_BYTES, Tree, root_of
from ledgerx.tiles import Place

TENANTS_AT_ONCE = 500

_SIGNED = Counter("ledgerx_checkpoints_signed", "Checkpoints signed by this process.")
_log = structlog.get_logger()
_queries = Queries("ledgerx", "sql/checkpoints.sql")


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """Signs for the platform called `platform`, a tenant at most every `interval_s` seconds."""

    pool: Pool
    keyset: Keyset
    platform: str
    interval_s: float

    async def sign_due(self) -> int:
        """Sign for the tenants that have waited long enough, and return how many were due. Raises `psycopg.Error`."""
        async with self.pool.connection() as connection:
            parameters = {"interval_s": self.interval_s, "most": TENANTS_AT_ONCE}
            cursor = await connection.execute(_queries.due_checkpoints, parameters)
            due = [tenant_id for (tenant_id,) in await cursor.fetchall()]
        for tenant_id in due:
            try:
                await self._sign(tenant_id)
            except psycopg.Error as error:
                _log.warning("checkpoint not signed", tenant=str(tenant_id), error=str(error).strip())
        return len(due)

    async def _sign(self, tenant_id: UUID) -> None:
        async with self.pool.connection() as connection, tenant_scope(connection, tenant_id):
            cursor = await connection.execute(_queries.lock_tree, {"tenant_id": tenant_id})
            row = await cursor.fetchone()
            if row is None:
                return
            size, hashes, lines, old_size, old_root = row
            tree = Tree(size, [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)])
            if old_size is not None and size < old_size:
                # It is computed anew, and on its way to where it was.
                return
            # A log never signs what is not consistent with what it signed before (tlog-checkpoint).
            places = tiles.places_for_root(size) | tiles.places_for_root(old_size or 0)
            cursor = await connection.execute(_queries.tiles, tile_parameters(tenant_id, places), binary=True)
            kept = {(level, index): found for level, index, found in await cursor.fetchall()}
            for past, root in ((size, tree.root()), (old_size, old_root)):
                if past is not None and not _leads_to(root, past, kept):
                    what = f"the tiles of the Merkle tree do not lead to its root at {past} entries"
                    await findings.record(connection, tenant_id, [Finding(None, what)], found_by="checkpoints")
                    return
            if size == old_size:
                await connection.execute(_queries.covered, {"tenant_id": tenant_id})
                return
            balance = BalanceStatement(tuple(decode_lines(lines)), size, tenant_id)
            note, verifier_keys = signed(self.platform, tenant_id, tree.root(), balance, self.keyset)
            parameters = {
                "tenant_id": tenant_id,
                "old_size": old_size,
                "size": size,
                "root": tree.root(),
                "note": note,
                "trial_balance": encode_statement(balance),
                "verifier_keys": verifier_keys,
            }
            await connection.execute(_queries.insert_checkpoint, parameters)
            await connection.execute(_queries.covered, {"tenant_id": tenant_id})
        _SIGNED.inc()


def _leads_to(root: bytes, size: int, kept: Mapping[Place, bytes]) -> bool:
    try:
        return root_of(size, tiles.nodes_in(kept)) == root
    except LookupError:
        return False
