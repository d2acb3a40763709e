"""Connections whose pipelines send in bursts.

Psycopg sends each statement of a pipeline as soon as it is executed, and gives way to the loop each time. On a loop
that is busy with requests, those turns are a third of the time that a batch of the engine holds its tenant's head.
Here the statements leave together, when a result is fetched or the pipeline ends. The hooks are psycopg's own, not
promised to anybody: where a version of it has others, its way is what remains.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, AsyncPipeline
from psycopg.abc import PQGen
from psycopg.rows import TupleRow


class _Burst(AsyncPipeline):
    def _communicate_gen(self) -> PQGen[None]:
        if self.command_queue and self.command_queue[-1] == self.pgconn.pipeline_sync:
            yield from super()._communicate_gen()

    def _fetch_gen(self, *, flush: bool) -> PQGen[None]:
        if self.command_queue:
            yield from super()._communicate_gen()
        yield from super()._fetch_gen(flush=flush)


class BurstingConnection(AsyncConnection[TupleRow]):
    """An asynchronous connection of psycopg with pipelines that send in bursts."""

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        """Enter a pipeline."""
        if self._pipeline is None:
            self._pipeline = _Burst(self)
        async with super().pipeline() as pipeline:
            yield pipeline
