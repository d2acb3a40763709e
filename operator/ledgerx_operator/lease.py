"""The Lease that one operator at a time holds (coordination.k8s.io), as client-go elects leaders.

Clocks of different machines are not compared: a lease has run out when this process has seen it unchanged for its
duration. The holder gives up when it could not renew for two thirds of that, and so before anybody else takes over.
"""

import asyncio
import time
from datetime import UTC, datetime

import structlog
from httpx2 import HTTPError
from lightkube import ApiError, AsyncClient
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease

from ledgerx_operator.names import LEASE

_NOT_FOUND = 404
_log = structlog.get_logger()


class LeaderLease:
    """The lease in `namespace`, wanted under the name `identity` for `duration_s` seconds at a time."""

    def __init__(self, client: AsyncClient, namespace: str, identity: str, duration_s: float) -> None:
        self._client = client
        self._namespace = namespace
        self._identity = identity
        self._duration_s = duration_s
        self._pause_s = duration_s / 5
        self._seen: tuple[str | None, datetime | None] = (None, None)
        self._seen_at = 0.0

    async def acquire(self) -> None:
        """Return once this process holds the lease."""
        while not await self._try():  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(self._pause_s)
        _log.info("lease acquired", identity=self._identity)

    async def hold(self) -> None:
        """Renew until the lease is lost, and return then."""
        renewed_at = time.monotonic()
        patience_s = self._duration_s * 2 / 3
        while time.monotonic() - renewed_at < patience_s:
            await asyncio.sleep(self._pause_s)
            began = time.monotonic()
            try:
                async with asyncio.timeout(max(0.1, renewed_at + patience_s - began)):
                    if await self._try():
                        renewed_at = began
                    elif self._seen[0] not in (self._identity, None):
                        break
            except TimeoutError:
                break
        _log.critical("lease lost", identity=self._identity)

    async def release(self) -> None:
        """Let another process take over at once."""
        try:
            lease = await self._client.get(Lease, LEASE, namespace=self._namespace)
            if lease.spec is not None and lease.spec.holderIdentity == self._identity:
                lease.spec.holderIdentity = ""
                await self._client.replace(lease)
        except HTTPError as error:
            _log.warning("lease not released", error=str(error))

    async def _try(self) -> bool:
        """Take the lease, or renew it; false where another holds it or the cluster does not answer."""
        try:
            lease = await self._client.get(Lease, LEASE, namespace=self._namespace)
        except ApiError as error:
            if error.status.code != _NOT_FOUND:
                _log.warning("lease not read", error=str(error))
                return False
            lease = Lease(metadata=ObjectMeta(name=LEASE, namespace=self._namespace), spec=LeaseSpec())
        except HTTPError as error:
            _log.warning("lease not read", error=type(error).__name__)
            return False
        spec = lease.spec or LeaseSpec()
        if not self._is_free(spec):
            return False
        return await self._write(lease, spec)

    def _is_free(self, spec: LeaseSpec) -> bool:
        seen = spec.holderIdentity, spec.renewTime
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        if not spec.holderIdentity or spec.holderIdentity == self._identity:
            return True
        return time.monotonic() - self._seen_at > (spec.leaseDurationSeconds or self._duration_s)

    async def _write(self, lease: Lease, spec: LeaseSpec) -> bool:
        now = datetime.now(UTC)
        if spec.holderIdentity != self._identity:
            spec.acquireTime = now
            spec.leaseTransitions = (spec.leaseTransitions or 0) + 1
        spec.holderIdentity = self._identity
        spec.renewTime = now
        spec.leaseDurationSeconds = max(1, round(self._duration_s))
        lease.spec = spec
        is_new = lease.metadata is None or lease.metadata.resourceVersion is None
        try:
            # The resource version that was read goes along, so that of several only one succeeds.
            await (self._client.create(lease) if is_new else self._client.replace(lease))
        except HTTPError as error:
            _log.info("lease not written", error=str(error))
            return False
        return True
