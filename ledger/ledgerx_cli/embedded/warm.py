"""Fills the cache that the embedded servers start from; the build of an image runs it with `python -m`.

What is not there at a start is fetched from a network, or made and written down, neither of which a pod can do.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from ledgerx_cli.embedded import kafka
from ledgerx_cli.supervisor import Supervisor


async def _warm(scratch: Path) -> None:
    broker = await asyncio.to_thread(kafka.prepare, scratch / "kafka", progress=lambda _done, _due: None)
    supervisor = Supervisor(run=scratch, logs=scratch, report=lambda _event: None)
    try:
        await supervisor.start(broker.part())
        await kafka.create_topics(broker.access)
    finally:
        # It writes its class archive when it stops.
        await supervisor.stop()


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        asyncio.run(_warm(Path(made)))
