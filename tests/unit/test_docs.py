"""The documentation says what the code does."""

import base64
import inspect
import json
import re
import subprocess
import sys
import time
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledgerx import events, journal, settings
from ledgerx.errors import ERRORS
from ledgerx.feed import EVENT_TYPES
from ledgerx.journal_file import JournalFileHead
from ledgerx.roles import Role
from ledgerx_api.reference.examples import examples
from ledgerx_api.schemas_trust import Trust
from ledgerx_api.settings import ApiSettings
from ledgerx_cli.api import ApiClient
from ledgerx_cli.migrate import MigrateSettings
from ledgerx_cli.up_settings import UpSettings
from ledgerx_operator.settings import OperatorSettings
from ledgerx_streams.relay.settings import Settings as RelaySettings
from ledgerx_streams.settings import Settings as StreamsSettings
from ledgerx_streams.webhooks.signing import signed_headers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
VECTORS_FILE = ROOT / "tests" / "data" / "journal_vectors.json"
VECTORS = json.loads(VECTORS_FILE.read_text(encoding="utf-8"))
PARTS: dict[str, type[msgspec.Struct]] = {
    "ledgerx api": ApiSettings,
    "ledgerx relay": RelaySettings,
    "ledgerx streams": StreamsSettings,
    "ledgerx operator": OperatorSettings,
    "ledgerx migrate": MigrateSettings,
    "ledgerx export": ApiClient,
    "ledgerx up": UpSettings,
}
# The base of others, and what only the part that expires holds can meet.
NEVER_MET = {"unprocessable", "hold_not_expired"}
MARKDOWN = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def blocks(document: str, language: str) -> list[str]:
    text = (DOCS / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(document: str, section: str | None = None) -> list[list[str]]:
    """The cells of the tables below a heading, or of all tables, without their heads."""
    lines = iter((DOCS / document).read_text(encoding="utf-8").splitlines())
    if section is not None:
        lines = dropwhile(lambda line: line != f"## {section}", lines)
        next(lines)
        lines = takewhile(lambda line: not line.startswith("## "), lines)
    return [
        cells for line in lines if (cells := [cell.strip() for cell in line.split("|")[1:-1]]) and "`" in "".join(cells)
    ]


def test_the_errors_are_those_that_a_client_can_meet() -> None:
    met = sorted((ERRORS[code] for code in ERRORS if code not in NEVER_MET), key=lambda error: error.status)
    assert rows("errors.md") == [[f"{one.status}", f"`{one.code}`", one.title, one.meaning()] for one in met]
    assert {one.code for one in met} == examples().problems.keys(), (
        "provoke each error in tests/integration/reference/scenario.py and run `make reference`"
    )


def test_an_error_says_its_status_and_what_it_means() -> None:
    for error in ERRORS.values():
        assert (inspect.getdoc(error) or "").startswith(f"{error.status}: "), error


@pytest.mark.parametrize("part", PARTS)
def test_the_settings_of_a_part_are_those_of_the_code(part: str) -> None:
    documented = {name: default for name, default, _ in rows("configuration.md", f"`{part}`")}
    fields = msgspec.structs.fields(PARTS[part])
    assert documented == {f"`{settings.PREFIX}{field.name.upper()}`": shown_default(field) for field in fields}


def shown_default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    return "none" if field.default is None else f"`{field.default}`"


@pytest.mark.parametrize(("limit", "source"), [row[1:] for row in rows("limits.md")])
def test_a_limit_is_that_of_the_code(limit: str, source: str) -> None:
    if source.startswith("constraint "):
        migrations = "".join(path.read_text() for path in (ROOT / "ledger/ledgerx/migrations").glob("*.sql"))
        assert f"CONSTRAINT {source.removeprefix('constraint ').strip('`')} " in migrations
        return
    numbers = [int(number.replace(",", "")) for number in re.findall(r"\d+(?:,\d+)*", limit)]
    value = resolve(source.strip("`"))
    if isinstance(value, int | float):
        assert value in numbers
    else:
        schema = str(msgspec.json.schema(value))
        assert [number for number in numbers if str(number) not in schema] == []


def resolve(dotted: str) -> Any:
    """What goes by this name: an attribute of a module, or the default of a field, or its type where it has none."""
    module = dotted
    while module not in sys.modules:
        try:
            __import__(module)
        except ModuleNotFoundError:
            module = module.rpartition(".")[0]
    first, *rest = dotted.removeprefix(f"{module}.").split(".")
    found = getattr(sys.modules[module], first)
    for name in rest:
        found = next(field.default or field.type for field in msgspec.structs.fields(found) if field.name == name)
    return found


def test_the_vectors_in_the_journal_format_are_those_of_the_tests() -> None:
    shown = [block.strip() for block in blocks("journal-format.md", "json") if block.startswith("[")]
    hashes = [block.strip() for block in blocks("journal-format.md", "text") if re.fullmatch(r"[0-9a-f]{64}\n", block)]
    assert shown == [vector["canonical"] for vector in VECTORS["entries"][: len(shown)]]
    assert hashes == [VECTORS["genesis"]["hash"], *(vector["hash"] for vector in VECTORS["entries"][: len(shown)])]
    assert len(shown) == 3


def test_the_program_in_the_journal_format_verifies_the_vectors(tmp_path: Path) -> None:
    [program] = blocks("journal-format.md", "python")
    forged = tmp_path / "forged.json"
    forged.write_text(VECTORS_FILE.read_text(encoding="utf-8").replace('"order/7"', '"order/8"'), encoding="utf-8")
    good, bad = (
        subprocess.run([sys.executable, "-I", "-c", program, path], capture_output=True, text=True, check=False)
        for path in (VECTORS_FILE, forged)
    )
    assert good.stdout == f"{len(VECTORS['entries'])} entries, head {VECTORS['entries'][-1]['hash']}\n"
    assert bad.returncode == 1
    assert "entry 3 is not what it was" in bad.stderr


def test_the_message_in_the_journal_format_continues_the_vectors() -> None:
    [text] = [block for block in blocks("journal-format.md", "json") if block.startswith("{")]
    message = events.decode(text.encode())
    [record] = message.entries
    assert message.tenant.hex == VECTORS["tenant"].replace("-", "")
    assert (message.first, message.last) == (record.seq, record.seq)
    assert message.previous_hash.hex() == VECTORS["entries"][record.seq - 2]["hash"]
    assert journal.canonical(events.entry(record)).decode() == VECTORS["entries"][record.seq - 1]["canonical"]
    assert message.hash == record.hash == journal.chain(message.previous_hash, events.entry(record))


def test_the_first_line_of_a_file_in_the_journal_format_is_that_of_the_vectors() -> None:
    [line] = blocks("journal-format.md", "jsonl")
    head = msgspec.json.decode(line, type=JournalFileHead)
    assert msgspec.json.encode(head).decode() == line.strip()
    assert head.hash.hex() == VECTORS["entries"][head.last - 1]["hash"]
    assert str(head.tenant) == VECTORS["tenant"]


def test_the_events_are_those_of_the_code() -> None:
    documented = {kind.strip("`"): name.strip("`") for name, _, kind in rows("events.md")}
    assert documented == {kind.value: name for kind, name in EVENT_TYPES.items()}


def test_the_issuer_to_trust_is_one_that_the_api_takes() -> None:
    [shown] = blocks("access.md", "json")
    assert msgspec.json.decode(shown, type=Trust).roles["customers"] is Role.MEMBER


def test_the_program_in_the_page_of_webhooks_verifies_what_is_signed() -> None:
    [program] = [block for block in blocks("webhooks.md", "python") if "def verify" in block]
    scope: dict[str, Any] = {}
    exec(program, scope)  # noqa: S102 - of our own page
    secret, body = bytes(32), b'{"a": 1}'
    shown = "whsec_" + base64.b64encode(secret).decode()
    headers = signed_headers("t/7", int(time.time()), body, [bytes(31), secret])
    scope["verify"](shown, headers, body)
    for bad in (headers | {"webhook-id": "t/8"}, signed_headers("t/7", 1_000, body, [secret])):
        with pytest.raises(ValueError, match=r"good|old"):
            scope["verify"](shown, bad, body)


@pytest.mark.parametrize("document", MARKDOWN)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not leads_somewhere(path, target)] == []


def leads_somewhere(page: Path, target: str) -> bool:
    """Whether there is the file that a link on a page names, and the heading in it."""
    name, _, anchor = target.partition("#")
    file = page.parent / name if name else page
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes them part of a URL."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
