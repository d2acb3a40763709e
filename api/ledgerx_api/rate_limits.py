"""Rate limits: what a tenant, one client or user of it, and an address that logs in may cost in a window of time.

A request costs one, a batch as much as it has transactions. The library `limits` counts, in this process or in a Valkey
that many share. What it grants is taken a thousandth of a limit at a time and spent here: a request asks the store
seldom, and windows that are used up are known without asking. A store that fails lets requests through.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from math import ceil
from typing import Any
from uuid import UUID

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import ConfigurationError as UnusableStore
from limits.errors import StorageError
from litestar import Request
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Counter

from ledgerx.errors import ConfigurationError, RateLimited, TooCostly
from ledgerx.outbound import Network
from ledgerx.settings import Secret
from ledgerx_api import problems
from ledgerx_api.addresses import address_of, site_of
from ledgerx_api.settings import ApiSettings
from ledgerx_api.tokens import Principal

STORE_TIMEOUT_MS = 500
# How long a store that failed is left alone.
STORE_PAUSE_S = 5.0
_PIECES = 1_000
_REMEMBERED = 10_000
_BY_ADDRESS = "/v1/auth/"
_SCHEMES = {"valkey": "valkey", "valkeys": "valkeys", "redis": "valkey", "rediss": "valkeys"}

_log = structlog.get_logger()
_REFUSED = Counter("ledgerx_rate_limited_total", "Requests refused by a rate limit, by its policy", ["policy"])
_STORE_FAILURES = Counter("ledgerx_rate_limit_store_failures_total", "Failures of the store that counts rate limits")


class _Window:
    """What one key may still cost until `resets_at`, in seconds of the epoch.

    `granted` is this process' own to spend; `beyond` is what the store had left besides, at most.
    """

    __slots__ = ("beyond", "granted", "key", "lock", "policy", "resets_at")

    def __init__(self, policy: "_Policy", key: str) -> None:
        self.policy = policy
        self.key = key
        self.granted = self.beyond = 0
        self.resets_at = 0.0
        self.lock = asyncio.Lock()


class _Policy:
    """A limit of one kind of keys, with the windows of those that were seen; the oldest are forgotten."""

    def __init__(self, name: str, quota: int, window_s: int) -> None:
        self.name = name
        self.quota = quota
        self.window_s = window_s
        self.piece = max(1, quota // _PIECES)
        self.item = RateLimitItemPerSecond(quota, window_s, namespace=f"ledgerx/{name}")
        self.header = f'"{name}";q={quota};w={window_s}'
        self.left = f'"{name}";r='
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()

    def window(self, *key: Hashable) -> _Window:
        """The window of a key."""
        known = self._windows.get(key)
        if known is None:
            known = self._windows[key] = _Window(self, "/".join(map(str, key)))
            if len(self._windows) > _REMEMBERED:
                self._windows.popitem(last=False)
        return known


class RateLimiter:
    """The limits of one process; `limited` is a middleware that stands behind `access.authorised_by`.

    `own_rate` says how many requests a second the tenant of a request may send that has a limit of its own. Raises
    `ConfigurationError` for an unusable URL of a store.
    """

    def __init__(
        self,
        settings: ApiSettings,
        trusted_proxies: Sequence[Network],
        own_rate: Callable[[Scope, UUID], int | None] = lambda _scope, _tenant_id: None,
    ) -> None:
        self._trusted_proxies = trusted_proxies
        self._store = _store(settings.rate_limit_url)
        self._counts = FixedWindowRateLimiter(self._store)
        self._store_rests_until = 0.0
        self._own_rate = own_rate
        self._window_s = settings.rate_limit_window_s
        self._by_rate: dict[int, _Policy] = {}
        self._tenant, self._client, self._address = (
            _Policy(name, quota, settings.rate_limit_window_s) if quota else None
            for name, quota in (
                ("tenant", settings.rate_limit_tenant),
                ("client", settings.rate_limit_client),
                ("address", settings.rate_limit_address),
            )
        )

    def limited(self, app: ASGIApp) -> ASGIApp:
        """Wrap `app` so that every request pays one, or is refused; its answer says what is left."""

        async def limit(scope: Scope, receive: Receive, send: Send) -> None:
            windows = self._windows_of(scope)
            if not windows:
                await app(scope, receive, send)
                return

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], *_headers(windows)]
                await send(message)

            try:
                if not _spend(windows, 1):
                    await self._obtain_and_spend(windows, 1)
            except RateLimited as error:
                # Not raised: what a middleware raises is answered around all of them, unmeasured and without headers.
                request: Request[Any, Any, Any] = Request(scope)
                answer = problems.answer(request, error).to_asgi_response(app=None, request=request)
                await answer(scope, receive, send_with_headers)
                return
            await app(scope, receive, send_with_headers)

        return limit

    async def charge(self, request: Request[Principal, Any, Any], transactions: int) -> None:
        """Let `request` cost as much as it has transactions; one it paid when it came in.

        Raises `RateLimited` where too little is left, and `TooCostly` where no window would ever be enough; the rest
        of the cost is not taken then.
        """
        windows = self._windows_of(request.scope)
        for window in windows:
            quota = window.policy.quota
            if transactions > quota:
                raise TooCostly(
                    f'{transactions} transactions are more than the limit "{window.policy.name}" of {quota} in '
                    f"{window.policy.window_s} s can ever allow: send fewer at once",
                    policy=window.policy.name,
                    limit=quota,
                )
        if transactions > 1:
            await self._obtain_and_spend(windows, transactions - 1)

    async def close(self) -> None:
        """Close the connections to the store."""
        if isinstance(self._store, RedisStorage):
            bridge: Any = self._store.bridge
            await bridge.get_connection().aclose()

    def _windows_of(self, scope: Scope) -> list[_Window]:
        windows = []
        principal: Principal | None = scope.get("user")
        if principal is not None:
            if self._client is not None:
                windows.append(self._client.window(principal.tenant_id, principal.actor))
            tenant = self._tenant_policy(scope, principal.tenant_id)
            if tenant is not None:
                windows.append(tenant.window(principal.tenant_id))
        if self._address is not None and scope["path"].startswith(_BY_ADDRESS):
            windows.append(self._address.window(site_of(address_of(scope, self._trusted_proxies))))
        return windows

    def _tenant_policy(self, scope: Scope, tenant_id: UUID) -> _Policy | None:
        rate = self._own_rate(scope, tenant_id)
        if rate is None:
            return self._tenant
        policy = self._by_rate.get(rate)
        if policy is None:
            policy = self._by_rate[rate] = _Policy("tenant", rate * self._window_s, self._window_s)
        return policy

    async def _obtain_and_spend(self, windows: Sequence[_Window], cost: int) -> None:
        """Take `cost` from all windows, or from none and raise `RateLimited`."""
        # What one request obtains another may spend before the first has all it needs.
        while not _spend(windows, cost):
            obtained = [await self._obtain(window, cost) for window in windows]
            if not all(obtained):
                return

    async def _obtain(self, window: _Window, cost: int) -> bool:
        """Get the store to grant what `window` lacks for `cost`; false where the store does not answer."""
        async with window.lock:
            now = time.time()
            if now < window.resets_at:
                if window.granted >= cost:
                    return True
                if window.granted + window.beyond < cost:
                    raise _refusal(window, cost, now)
            if time.monotonic() < self._store_rests_until:
                return False
            try:
                await self._take(window, cost)
            except StorageError as error:
                _STORE_FAILURES.inc()
                self._store_rests_until = time.monotonic() + STORE_PAUSE_S
                cause = error.storage_error
                _log.warning("requests pass unlimited: the store failed", error=f"{type(cause).__name__}: {cause}")
                return False
            return True

    async def _take(self, window: _Window, cost: int) -> None:
        policy = window.policy
        resets_at, left = await self._counts.get_window_stats(policy.item, window.key)
        now = time.time()
        if window.resets_at <= now:
            window.granted = 0
        untouched = left == policy.quota
        # Valkey tells whole seconds.
        window.resets_at = now + policy.window_s if untouched else max(resets_at, now + 1)
        window.beyond = left
        lacking = cost - window.granted
        if lacking > left:
            raise _refusal(window, cost, now)
        piece = max(lacking, min(policy.piece, left))
        if not await self._counts.hit(policy.item, window.key, cost=piece):
            # Another process was quicker, and what was left is spent.
            window.beyond = 0
            raise _refusal(window, cost, now)
        if untouched:
            # It began just now, so that it never seems to have ended here before it has.
            window.resets_at = time.time() + policy.window_s
        window.granted += piece
        window.beyond -= piece


def _spend(windows: Sequence[_Window], cost: int) -> bool:
    """Take `cost` from what all windows were granted, or from none."""
    now = time.time()
    for window in windows:
        if window.granted < cost or window.resets_at <= now:
            return False
    for window in windows:
        window.granted -= cost
    return True


def _store(url: Secret | None) -> Storage:
    if url is None:
        return MemoryStorage(wrap_exceptions=True)
    scheme, separator, rest = url.reveal().partition("://")
    if scheme not in _SCHEMES:
        raise ConfigurationError(f"LEDGERX_RATE_LIMIT_URL must begin with one of {', '.join(_SCHEMES)} and ://")
    try:
        # The client of Valkey, which speaks to Redis as well, but knows the schemes by its own name only.
        return RedisStorage(
            _SCHEMES[scheme] + separator + rest,
            wrap_exceptions=True,
            socket_timeout=STORE_TIMEOUT_MS / 1_000,
            socket_connect_timeout=STORE_TIMEOUT_MS / 1_000,
        )
    except UnusableStore:
        # The library's words would show the password.
        raise ConfigurationError(
            "LEDGERX_RATE_LIMIT_URL has no host and port, or the extra ledgerx[valkey] is not installed"
        ) from None


def _headers(windows: Sequence[_Window]) -> list[tuple[bytes, bytes]]:
    """`RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers-11.

    Of a window that the store was not asked about there is nothing to say.
    """
    now = time.time()
    left = [
        f"{window.policy.left}{window.granted + window.beyond};t={ceil(window.resets_at - now)}"
        for window in windows
        if now < window.resets_at
    ]
    headers = [(b"ratelimit-policy", _joined(*[window.policy.header for window in windows]))]
    if left:
        headers.append((b"ratelimit", ", ".join(left).encode()))
    return headers


@cache
def _joined(*policies: str) -> bytes:
    return ", ".join(policies).encode()


def _refusal(window: _Window, cost: int, now: float) -> RateLimited:
    policy = window.policy
    _REFUSED.labels(policy.name).inc()
    return RateLimited(
        f'the limit "{policy.name}" of {policy.quota} in {policy.window_s} s '
        f"has {window.granted + window.beyond} left, this costs {cost}",
        retry_after_s=ceil(window.resets_at - now),
        policy=policy.name,
    )
