"""The keys of issuers outside: fetched when they are needed, kept, and fetched anew before they are too old.

A request waits for a fetch only where there are no keys, or old ones, or not the one that it needs. While the issuer
does not answer, the keys of before are used for a bounded time. However many ask, an issuer is asked by one fetch at a
time, and not again so soon.
"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

import msgspec
import structlog
from prometheus_client import Counter

from ledgerx.errors import InvalidToken, IssuerUnavailable
from ledgerx.outbound import Outbound, OutboundError
from ledgerx.trust import Algorithm
from ledgerx_api import jwks
from ledgerx_api.jwks import BadDocumentError, Keys, PublicKey

FETCH_TIMEOUT_S = 5.0
MAX_DOCUMENT_BYTES = 262_144
# From the beginning of one fetch to that of the next.
PAUSE_S = 10.0
# How long keys are used that cannot be fetched anew.
STALE_S = 21_600.0
# What part of their life keys are left alone for.
_REFRESH_AFTER = 0.75

_log = structlog.get_logger()
_FETCHES = Counter("ledgerx_issuer_fetches_total", "Fetches of the keys of issuers outside, by outcome", ["outcome"])


class _Fetched(msgspec.Struct, frozen=True):
    """Keys, and the times of the monotonic clock after which one looks for newer ones, waits for them, gives up."""

    keys: Keys
    refresh_at: float
    fresh_until: float
    usable_until: float


class Issuer:
    """One issuer and its keys; `url` is what `iss` says in its tokens."""

    def __init__(self, url: str, outbound: Outbound, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._outbound = outbound
        self._clock = clock
        self._fetched: _Fetched | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._began_at = float("-inf")
        self._is_failing = False

    async def key(self, kid: str, algorithm: Algorithm) -> PublicKey:
        """The key with this id for this algorithm. Raises `InvalidToken` and `IssuerUnavailable`."""
        now = self._clock()
        fetched = self._fetched
        if fetched is None or now >= fetched.usable_until or (now >= fetched.fresh_until and not self._is_failing):
            await self._fetch_now()
        elif now >= fetched.refresh_at:
            self._fetch_soon()
        found = self._find(kid, algorithm)
        if found is None:
            await self._fetch_now()
            found = self._find(kid, algorithm)
        if found is not None:
            return found
        if self._is_failing or self._fetched is None:
            pause = self._began_at + PAUSE_S - self._clock()
            raise IssuerUnavailable("the keys of the token's issuer cannot be had", retry_after_s=max(1, round(pause)))
        raise InvalidToken("the access token's issuer has no such key")

    async def close(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _find(self, kid: str, algorithm: Algorithm) -> PublicKey | None:
        fetched = self._fetched
        if fetched is None or self._clock() >= fetched.usable_until:
            return None
        return fetched.keys.get((kid, algorithm))

    async def _fetch_now(self) -> None:
        """Wait for a fetch, unless the last one is too near."""
        task = self._fetch_soon()
        if task is not None:
            # Who goes away does not take along what others wait for.
            await asyncio.shield(task)

    def _fetch_soon(self) -> asyncio.Task[None] | None:
        """The fetch that runs, or else one that begins; None where the last one is too near."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._clock()
        if now < self._began_at + PAUSE_S:
            return None
        self._began_at = now
        self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            source = jwks.jwks_url(self.url, (await self._get(jwks.discovery_url(self.url)))[0])
            body, age_s = await self._get(source)
            keys = jwks.keys_of(body)
        except (OutboundError, BadDocumentError) as error:
            self._is_failing = True
            _FETCHES.labels("failed").inc()
            _log.warning("keys of an issuer not fetched", issuer=self.url, error=str(error))
            return
        now = self._clock()
        self._fetched = _Fetched(keys, now + age_s * _REFRESH_AFTER, now + age_s, now + age_s + STALE_S)
        self._is_failing = False
        _FETCHES.labels("done").inc()

    async def _get(self, url: str) -> tuple[bytes, int]:
        """A document and the seconds it may be kept. Raises `OutboundError` and `BadDocumentError`."""
        reply = await self._outbound.send(
            "GET", url, max_bytes=MAX_DOCUMENT_BYTES, headers={"Accept": "application/json"}
        )
        if reply.status != HTTPStatus.OK:
            raise BadDocumentError(f"it answers {reply.status}")
        return reply.body, jwks.max_age_s(reply.headers)
