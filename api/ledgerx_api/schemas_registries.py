"""What goes over the wire of assets, categories and settings.

What is asked for has the members of its command, by their names.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx.assets import MAX_SCALE
from ledgerx.journal import AssetState, CategoryState, Entry, SettingsState
from ledgerx.registries import KnownAsset
from ledgerx.state import Category as CategoryNow
from ledgerx_api.schemas import NO_NUL, Code, Text

AssetCode = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z]([A-Z0-9._\-]{0,30}[A-Z0-9])?$",
        description="A letter first, a letter or digit last; `.`, `_` and `-` between them.",
        examples=["BTC", "USD-X"],
    ),
]
Scale = Annotated[int, Meta(ge=0, le=MAX_SCALE, description="The decimals that amounts of it have.", examples=[8])]
Description = Annotated[str, Meta(max_length=1000, pattern=NO_NUL)]


class NewAsset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An asset to register. The scale of a currency of ISO 4217 may be another one, until an account holds it."""

    code: AssetCode
    scale: Scale
    name: Text | None = None


class AssetChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an asset; what is left out stays, null takes away. Its scale is fixed."""

    name: Text | UnsetType | None = UNSET


class ChangedAsset(msgspec.Struct, frozen=True, kw_only=True):
    """An asset as an entry of the journal left it, or took it away."""

    code: str
    scale: int
    name: str | None


class Asset(ChangedAsset, frozen=True, kw_only=True):
    """An asset. The currencies of ISO 4217 are known without being `registered`.

    `version` is the journal's number of its latest change.
    """

    registered: bool
    version: int | None


class NewCategory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A category to register."""

    code: Code
    name: Text | None = None
    description: Description | None = None


class CategoryChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a category; what is left out stays, null takes away."""

    name: Text | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET


class ChangedCategory(msgspec.Struct, frozen=True, kw_only=True):
    """A category as an entry of the journal left it, or took it away."""

    code: str
    name: str | None
    description: str | None


class Category(ChangedCategory, frozen=True, kw_only=True):
    """A registered category. `version` is the journal's number of its latest change."""

    version: int


class SettingsChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of the settings; what is left out stays."""

    strict_categories: bool | UnsetType = UNSET


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant's settings. With `strict_categories` a category that is not registered is refused."""

    strict_categories: bool


def asset(found: KnownAsset) -> Asset:
    """An asset as the API shows it."""
    return Asset(
        code=found.code, scale=found.scale, name=found.name, registered=found.seq is not None, version=found.seq
    )


def asset_of(entry: Entry) -> Asset:
    """An asset as an entry left it."""
    if not isinstance(entry.change, AssetState):
        raise TypeError("not an entry of an asset")
    change = entry.change
    return Asset(code=change.asset, scale=change.scale, name=change.name, registered=True, version=entry.seq)


def category(found: CategoryNow) -> Category:
    """A category as the API shows it."""
    return Category(code=found.code, name=found.name, description=found.description, version=found.seq)


def category_of(entry: Entry) -> Category:
    """A category as an entry left it."""
    if not isinstance(entry.change, CategoryState):
        raise TypeError("not an entry of a category")
    change = entry.change
    return Category(code=change.category, name=change.name, description=change.description, version=entry.seq)


def settings(now: SettingsState) -> Settings:
    """The settings as the API shows them."""
    return Settings(strict_categories=now.strict_categories)


def settings_of(entry: Entry) -> Settings:
    """The settings as an entry left them."""
    if not isinstance(entry.change, SettingsState):
        raise TypeError("not an entry of the settings")
    return settings(entry.change)
