"""The rules of assets: registering, renaming and deleting them. An asset has the scale of the accounts that hold it."""

import msgspec
from msgspec import UNSET

from ledgerx import assets
from ledgerx.commands import AssetCommand, CreateAsset, DeleteAsset, UpdateAsset
from ledgerx.deciding.ledger import Ledger, check_version
from ledgerx.errors import AssetExists, AssetInUse, NotFound, TooManyAssets
from ledgerx.journal import Kind
from ledgerx.outcomes import Recorded
from ledgerx.state import Asset

# Registered ones; what ISO 4217 knows is there without being registered.
MAX_ASSETS = 10_000


def scale_of(ledger: Ledger, code: str) -> int:
    """The decimal places of an asset for a new account: see `ledgerx.assets.known_scale`. Raises `UnknownAsset`."""
    registered = ledger.assets.get(code)
    return assets.known_scale(code, ledger.scales.get(code), None if registered is None else registered.scale)


def create_asset(ledger: Ledger, command: CreateAsset) -> Recorded:
    """Register an asset. One that accounts hold already, as they may a currency, is registered with their scale."""
    if command.code in ledger.assets:
        raise AssetExists(f'asset "{command.code}" exists already', asset=command.code)
    scale = ledger.scales.get(command.code, command.scale)
    if scale != command.scale:
        raise _in_use(command.code, scale)
    if ledger.registry.assets >= MAX_ASSETS:
        raise TooManyAssets("this tenant has as many assets as it may have")
    ledger.registry = msgspec.structs.replace(ledger.registry, assets=ledger.registry.assets + 1)
    asset = Asset(code=command.code, scale=scale, name=command.name, seq=ledger.head.seq + 1)
    return _change(ledger, command, Kind.CREATE_ASSET, asset)


def update_asset(ledger: Ledger, command: UpdateAsset) -> Recorded:
    """Change an asset's name."""
    asset = _at_version(ledger, command)
    if command.name is not UNSET:
        asset = msgspec.structs.replace(asset, name=command.name)
    return _change(ledger, command, Kind.UPDATE_ASSET, msgspec.structs.replace(asset, seq=ledger.head.seq + 1))


def delete_asset(ledger: Ledger, command: DeleteAsset) -> Recorded:
    """Take an asset away that was never used; a currency is what ISO 4217 says from then on."""
    asset = _at_version(ledger, command)
    if asset.code in ledger.scales:
        raise _in_use(asset.code, asset.scale)
    ledger.registry = msgspec.structs.replace(ledger.registry, assets=ledger.registry.assets - 1)
    recorded = _change(ledger, command, Kind.DELETE_ASSET, asset)
    del ledger.assets[asset.code]
    return recorded


def _change(ledger: Ledger, command: AssetCommand, kind: Kind, asset: Asset) -> Recorded:
    entry = ledger.record(command, kind, change=asset.state)
    ledger.assets[asset.code] = asset
    ledger.changed_assets.add(asset.code)
    return Recorded(entry, {})


def _at_version(ledger: Ledger, command: UpdateAsset | DeleteAsset) -> Asset:
    asset = ledger.assets.get(command.code)
    if asset is None:
        raise NotFound(f'no asset "{command.code[:32]}" is registered')
    check_version(f'asset "{asset.code}"', asset.seq, command.if_versions, asset=asset.code)
    return asset


def _in_use(code: str, scale: int) -> AssetInUse:
    return AssetInUse(f'accounts hold "{code}" with a scale of {scale}', asset=code, scale=scale)
