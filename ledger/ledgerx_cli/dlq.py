"""`ledgerx dlq`."""

import asyncio
import sys
from collections.abc import Iterable
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from ledgerx_cli.kafka import kafka_access
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_streams import dead_letters
from ledgerx_streams.dead_letters import DeadLetter
from ledgerx_streams.kafka_access import KafkaAccess

app = App(name="dlq", help="See to messages that a projection could not take.")


@app.command(name="list")
def list_letters(
    *,
    everything: Annotated[
        bool, Parameter(name="--all", negative="", help="Those that were sent again, too, as long as Kafka keeps them.")
    ] = False,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """List the messages that wait to be sent again, with what was wrong."""
    _show(asyncio.run(dead_letters.read(kafka_access(data), since_start=everything)), json=json)


@app.command
def replay(*, data: Data = DEFAULT_DATA, json: AsJson = False) -> None:
    """Send the messages that wait to the topic they came from, once the cause is mended."""
    _show(asyncio.run(_replay(kafka_access(data))), json=json)


@app.command
def discard(*, data: Data = DEFAULT_DATA, json: AsJson = False) -> None:
    """Have done with the messages that wait: projections have what they lacked from the tables meanwhile."""
    _show(asyncio.run(dead_letters.discard(kafka_access(data))), json=json)


async def _replay(kafka: KafkaAccess) -> list[DeadLetter]:
    return [letter async for letter in dead_letters.replay(kafka)]


def _show(letters: Iterable[DeadLetter], *, json: bool) -> None:
    """Print a line of JSON each, or a table."""
    if json:
        sys.stdout.write("".join(f"{msgspec.json.encode(letter).decode()}\n" for letter in letters))
        return
    table = Table("number", "at", "projection", "from", "key", "bytes", "reason")
    for letter in letters:
        origin = f"{letter.topic}/{letter.partition}@{letter.offset}"
        at = letter.at.isoformat(timespec="seconds")
        table.add_row(
            str(letter.number), at, letter.projection, origin, letter.key, str(letter.size_bytes), letter.reason
        )
    if table.rows:
        Console().print(table)
    else:
        sys.stdout.write("no dead letters\n")
