"""Reads of what a tenant has registered, and how whoever declares a tenant brings it there.

Everything here that writes gives commands to the engine, as a request over HTTP does.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.assets import currencies_after, known_scale
from ledgerx.codes import CodeRange
from ledgerx.commands import AssetCommand, ChangeSettings, CreateAsset, DeleteAsset, UpdateAsset, unkeyed
from ledgerx.database import Pool, Queries
from ledgerx.engine import Engine
from ledgerx.errors import NotFound, UnknownAsset
from ledgerx.outcomes import Refused
from ledgerx.reading import fetch
from ledgerx.state import Asset, Category, Registry

_queries = Queries("ledgerx", "sql/registries.sql")


class KnownAsset(msgspec.Struct, frozen=True, gc=False):
    """An asset that accounts may hold. `seq` is its latest entry, None where the tenant has not registered it."""

    code: str
    scale: int
    name: str | None
    seq: int | None


class WantedAsset(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An asset as somebody declares it."""

    code: str
    scale: int
    name: str | None = None


async def read_asset(pool: Pool, tenant_id: UUID, code: str) -> KnownAsset:
    """The asset with this code, registered or not. Raises `NotFound`."""
    found = await _known(pool, tenant_id, [code])
    if not found:
        raise NotFound(f'there is no asset "{code[:32]}"')
    return found[0]


async def read_assets(
    pool: Pool, tenant_id: UUID, *, after: str, limit: int, registered: bool | None = None
) -> list[KnownAsset]:
    """At most `limit` assets in the order of their codes, from the first after the code `after`.

    They are the `registered` ones, those that are not, or with None both.
    """
    own = {row[0] for row in await fetch(pool, tenant_id, _queries.asset_codes_page, after=after, limit=limit)}
    if registered:
        codes: Iterable[str] = own
    elif registered is None:
        codes = own.union(itertools.islice(currencies_after(after), limit))
    else:
        codes = currencies_after(after)
    known = await _known(pool, tenant_id, sorted(codes))
    return [asset for asset in known if registered in (None, asset.seq is not None)][:limit]


async def read_category(pool: Pool, tenant_id: UUID, code: str) -> Category:
    """The registered category with this code. Raises `NotFound`."""
    found = await fetch(pool, tenant_id, _queries.load_categories, codes=[code])
    if not found:
        raise NotFound(f'there is no category "{code[:255]}"')
    return rows.category(found[0])


async def read_categories(
    pool: Pool, tenant_id: UUID, ranges: Sequence[CodeRange], *, after: str, limit: int
) -> list[Category]:
    """At most `limit` registered categories in `ranges`, in the order of their codes, from the first after `after`."""
    found = await fetch(
        pool,
        tenant_id,
        _queries.categories_page,
        lows=[one.low for one in ranges],
        highs=[one.high for one in ranges],
        after=after,
        limit=limit,
    )
    return [rows.category(row) for row in found]


async def read_registry(pool: Pool, tenant_id: UUID) -> Registry:
    """The tenant's settings, and how much it has registered. Raises `NotFound` for an unknown tenant."""
    found = await fetch(pool, tenant_id, _queries.registry)
    if not found:
        raise NotFound("there is no such tenant")
    return rows.registry(found[0])


async def ensure_assets(
    pool: Pool, engine: Engine, tenant_id: UUID, wanted: Sequence[WantedAsset], *, actor: str
) -> int:
    """Bring the registered assets to what is `wanted`, all or nothing, and return how many entries that took.

    Calling it again changes nothing. Others that are registered stay. Raises `BatchRefused`, above all for
    `AssetInUse` where accounts hold an asset with another scale, and what `Engine.run_atomic` raises.
    """
    found = await fetch(pool, tenant_id, _queries.load_assets, codes=sorted({asset.code for asset in wanted}))
    registered, _ = rows.assets(found)
    commands = asset_commands(wanted, registered, actor=actor)
    if commands:
        for outcome in await engine.run_atomic(tenant_id, commands):
            if isinstance(outcome, Refused):
                raise outcome.error
    return len(commands)


def asset_commands(
    wanted: Iterable[WantedAsset], registered: Mapping[str, Asset], *, actor: str
) -> Sequence[AssetCommand]:
    """The commands that lead from the `registered` assets to the `wanted` ones.

    An asset of another scale is deleted and registered anew, which the engine refuses once accounts hold it.
    """
    commands: list[AssetCommand] = []
    for asset in wanted:
        known = registered.get(asset.code)
        create = CreateAsset(code=asset.code, scale=asset.scale, name=asset.name, **unkeyed(actor))
        if known is None:
            commands.append(create)
        elif known.scale != asset.scale:
            commands += [DeleteAsset(code=asset.code, **unkeyed(actor)), create]
        elif known.name != asset.name:
            commands.append(UpdateAsset(code=asset.code, name=asset.name, **unkeyed(actor)))
    return commands


async def ensure_strict_categories(pool: Pool, engine: Engine, tenant_id: UUID, *, strict: bool, actor: str) -> bool:
    """Make a tenant's categories strict, or no more, and return whether that was a change; again it is none.

    Raises `NotFound`, the refusal, and what `Engine.run` raises.
    """
    if (await read_registry(pool, tenant_id)).strict_categories == strict:
        return False
    outcome = await engine.run(tenant_id, ChangeSettings(strict_categories=strict, **unkeyed(actor)))
    if isinstance(outcome, Refused):
        raise outcome.error
    return True


async def _known(pool: Pool, tenant_id: UUID, codes: Sequence[str]) -> list[KnownAsset]:
    registered, scales = rows.assets(await fetch(pool, tenant_id, _queries.load_assets, codes=codes))
    known = []
    for code in codes:
        asset = registered.get(code)
        try:
            scale = known_scale(code, scales.get(code), None if asset is None else asset.scale)
        except UnknownAsset:
            continue
        known.append(KnownAsset(code, scale, asset.name if asset else None, asset.seq if asset else None))
    return known
