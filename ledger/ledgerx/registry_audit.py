"""The part of a verification that follows assets, categories and settings through the journal."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from ledgerx import rows
from ledgerx.journal import AccountState, AssetState, CategoryState, Entry, Kind
from ledgerx.state import Asset, Category, Registry

# Of other transactions nobody can tell whether the category was given or is that of what they end or reverse.
_GIVEN_CATEGORY = frozenset({Kind.POST, Kind.HOLD})
_CREATED = frozenset({Kind.CREATE_ASSET, Kind.CREATE_CATEGORY})
_DELETED = frozenset({Kind.DELETE_ASSET, Kind.DELETE_CATEGORY})
R = TypeVar("R", Asset, Category)


class RegistryAudit:
    """What the entries fed so far have registered; `find` notes what is wrong."""

    def __init__(self, find: Callable[[int | None, str], None]) -> None:
        self._find = find
        self._assets: dict[str, Asset] = {}
        self._categories: dict[str, Category] = {}
        self._registry = Registry()
        # By asset, the scale of the accounts that hold it.
        self._scales: dict[str, int] = {}

    def feed(self, entry: Entry) -> None:
        """Check the next entry."""
        seq, change = entry.seq, entry.change
        if change is None:
            self._check_category(entry)
        elif isinstance(change, AccountState):
            self._check_scale(seq, change.asset, change.scale)
            self._scales.setdefault(change.asset, change.scale)
        elif isinstance(change, AssetState):
            self._check_scale(seq, change.asset, change.scale)
            if entry.kind in _DELETED and change.asset in self._scales:
                self._find(seq, f'the asset "{change.asset}" was deleted while accounts hold it')
            asset = Asset(code=change.asset, scale=change.scale, name=change.name, seq=seq)
            self._follow(entry, "asset", self._assets, asset)
        elif isinstance(change, CategoryState):
            category = Category(code=change.category, name=change.name, description=change.description, seq=seq)
            self._follow(entry, "category", self._categories, category)
        else:
            self._registry = Registry(strict_categories=change.strict_categories, settings_seq=seq)

    def compare(self, kept: Sequence[rows.Row]) -> None:
        """Compare the rows of `registries` with the entries fed so far."""
        assets, _ = rows.assets([(row[6], row[7], row[8], row[10], None) for row in kept if row[5] == "asset"])
        categories = [rows.category((row[6], row[8], row[9], row[10])) for row in kept if row[5] == "category"]
        self._compare("asset", self._assets, assets)
        self._compare("category", self._categories, {category.code: category for category in categories})
        sizes = {"assets": len(self._assets), "categories": len(self._categories)}
        if rows.registry(kept[0][1:5]) != msgspec.structs.replace(self._registry, **sizes):
            self._find(None, "the head counts assets or categories, or has settings, otherwise than the journal")

    def _compare(self, what: str, expected: Mapping[str, R], kept: Mapping[str, R]) -> None:
        for code in sorted(expected.keys() | kept.keys()):
            if expected.get(code) != kept.get(code):
                self._find(None, f'the {what} "{code}" is kept otherwise than the journal left it')

    def _check_category(self, entry: Entry) -> None:
        category = entry.category if entry.kind in _GIVEN_CATEGORY else None
        if self._registry.strict_categories and category is not None and category not in self._categories:
            self._find(entry.seq, f'the category "{category}" is not registered, and categories are strict')

    def _check_scale(self, seq: int, code: str, scale: int) -> None:
        registered = self._assets.get(code)
        known = {self._scales.get(code, scale), scale if registered is None else registered.scale}
        if known != {scale}:
            self._find(seq, f'the asset "{code}" has another scale')

    def _follow(self, entry: Entry, what: str, registered: dict[str, R], one: R) -> None:
        if (one.code in registered) == (entry.kind in _CREATED):
            self._find(entry.seq, f'the {what} "{one.code}" is registered twice, or not at all')
        registered[one.code] = one
        if entry.kind in _DELETED:
            del registered[one.code]
