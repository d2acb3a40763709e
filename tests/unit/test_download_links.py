"""Links to files: good for what they were made for, for their time, under the keys of the platform."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import time_machine

from ledgerx.download_links import LINK_CHARACTERS, Download, DownloadLinks
from ledgerx.errors import NotFound
from ledgerx.keys import Keyset, rotated, write_new_keyset

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = int((NOW + timedelta(minutes=15)).timestamp())
DOWNLOAD = Download(uuid4(), uuid4())


@pytest.fixture
def keyset(tmp_path: Path) -> Keyset:
    return write_new_keyset(tmp_path / "keys.json")


def test_a_link_opens_what_it_was_made_for_until_it_expires(keyset: Keyset) -> None:
    links = DownloadLinks(keyset)
    with time_machine.travel(NOW, tick=False) as clock:
        link = links.make(DOWNLOAD, expires_at=LATER)
        assert len(link) == LINK_CHARACTERS
        assert links.open(link) == DOWNLOAD
        clock.move_to(NOW + timedelta(minutes=16))
        with pytest.raises(NotFound):
            links.open(link)


def test_a_link_with_any_byte_changed_opens_nothing(keyset: Keyset) -> None:
    links = DownloadLinks(keyset)
    link = links.make(DOWNLOAD, expires_at=2**40)
    for position, character in enumerate(link):
        forged = link[:position] + ("A" if character != "A" else "B") + link[position + 1 :]
        with pytest.raises(NotFound):
            links.open(forged)


@pytest.mark.parametrize("link", ["", "A", "nothing", "é" * 96, "A" * 96, "=" * 96])
def test_what_is_no_link_opens_nothing(keyset: Keyset, link: str) -> None:
    with pytest.raises(NotFound):
        DownloadLinks(keyset).open(link)


def test_a_link_outlives_a_rotation_of_keys_and_not_two(keyset: Keyset, tmp_path: Path) -> None:
    link = DownloadLinks(keyset).make(DOWNLOAD, expires_at=2**40)
    once = rotated(keyset)
    assert DownloadLinks(once).open(link) == DOWNLOAD
    # A process that still has the keys of before takes the links of the new ones.
    assert DownloadLinks(keyset).open(DownloadLinks(once).make(DOWNLOAD, expires_at=2**40)) == DOWNLOAD
    for other in (rotated(once), write_new_keyset(tmp_path / "others.json")):
        with pytest.raises(NotFound):
            DownloadLinks(other).open(link)
