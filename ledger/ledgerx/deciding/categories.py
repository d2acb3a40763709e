"""The rules of categories, and of the settings, which say whether there are others than the registered ones."""

from typing import Any

import msgspec
from msgspec import UNSET

from ledgerx.commands import CategoryCommand, ChangeSettings, CreateCategory, DeleteCategory, UpdateCategory
from ledgerx.deciding.ledger import Ledger, check_version
from ledgerx.errors import CategoryExists, NotFound, TooManyCategories
from ledgerx.journal import Kind
from ledgerx.outcomes import Recorded
from ledgerx.state import Category

MAX_CATEGORIES = 10_000


def create_category(ledger: Ledger, command: CreateCategory) -> Recorded:
    """Register a category."""
    if command.code in ledger.categories:
        raise CategoryExists(f'category "{command.code}" exists already', category=command.code)
    if ledger.registry.categories >= MAX_CATEGORIES:
        raise TooManyCategories("this tenant has as many categories as it may have")
    ledger.registry = msgspec.structs.replace(ledger.registry, categories=ledger.registry.categories + 1)
    seq = ledger.head.seq + 1
    category = Category(code=command.code, name=command.name, description=command.description, seq=seq)
    return _change(ledger, command, Kind.CREATE_CATEGORY, category)


def update_category(ledger: Ledger, command: UpdateCategory) -> Recorded:
    """Change a category's name or description."""
    category = _at_version(ledger, command)
    given: dict[str, Any] = {"name": command.name, "description": command.description}
    changes = {name: value for name, value in given.items() if value is not UNSET}
    category = msgspec.structs.replace(category, **changes, seq=ledger.head.seq + 1)
    return _change(ledger, command, Kind.UPDATE_CATEGORY, category)


def delete_category(ledger: Ledger, command: DeleteCategory) -> Recorded:
    """Take a category away. What was recorded with it keeps it, and so does what ends or reverses that."""
    category = _at_version(ledger, command)
    ledger.registry = msgspec.structs.replace(ledger.registry, categories=ledger.registry.categories - 1)
    recorded = _change(ledger, command, Kind.DELETE_CATEGORY, category)
    del ledger.categories[category.code]
    return recorded


def change_settings(ledger: Ledger, command: ChangeSettings) -> Recorded:
    """Change the tenant's settings. Strict categories bind what is recorded from then on."""
    check_version("what is set", ledger.registry.settings_seq, command.if_versions)
    changed = msgspec.structs.replace(ledger.registry, settings_seq=ledger.head.seq + 1)
    if command.strict_categories is not UNSET:
        changed = msgspec.structs.replace(changed, strict_categories=command.strict_categories)
    entry = ledger.record(command, Kind.CHANGE_SETTINGS, change=changed.settings)
    ledger.registry = changed
    return Recorded(entry, {})


def _change(ledger: Ledger, command: CategoryCommand, kind: Kind, category: Category) -> Recorded:
    entry = ledger.record(command, kind, change=category.state)
    ledger.categories[category.code] = category
    ledger.changed_categories.add(category.code)
    return Recorded(entry, {})


def _at_version(ledger: Ledger, command: UpdateCategory | DeleteCategory) -> Category:
    category = ledger.categories.get(command.code)
    if category is None:
        raise NotFound(f'no category "{command.code[:255]}" is registered')
    check_version(f'category "{category.code}"', category.seq, command.if_versions, category=category.code)
    return category
