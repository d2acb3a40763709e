"""A projection that needs something outside of the database, which may not work while all else does.

It must not hold up the others. Messages are passed over while it is refused, and whoever catches up (see
`ledgerx_streams.catch_up`) finds out from the database what it lacks.
"""

import time
from collections.abc import Sequence
from uuid import UUID

import structlog

from ledgerx.database import Pool
from ledgerx.events import JournalMessage
from ledgerx_streams.projections import Projection, RefusedError
from ledgerx_streams.projector import Projector

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0

_log = structlog.get_logger()


class OutsideProjector(Projector):
    """Applies messages unless they are refused; then it pauses, each time twice as long until something is taken."""

    def __init__(self, projection: Projection, pool: Pool) -> None:
        super().__init__(projection, pool)
        self._pause_s = 0.0
        self._resume_at = 0.0

    async def apply(self, tenant_id: UUID, messages: Sequence[JournalMessage]) -> None:
        """As `Projector.apply`, but what is refused, and all that comes in the pause after it, is passed over.

        Raises `psycopg.Error` and `TemporaryError`.
        """
        if time.monotonic() < self._resume_at:
            return
        try:
            await super().apply(tenant_id, messages)
        except RefusedError as error:
            self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), MAX_PAUSE_S)
            self._resume_at = time.monotonic() + self._pause_s
            _log.error(
                "projection refused, others go on", projection=self.name, error=str(error), pause_s=self._pause_s
            )
        else:
            self._pause_s = 0.0
