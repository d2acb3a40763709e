"""Many tenants declared at once, and what that took: for a test and for a measurement."""

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from tests.operator.kube import Kube, condition
from tests.operator.operator_process import OperatorProcess, ledger_tenant

_POLL_S = 0.5
_MEBIBYTE = 2**20


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """How long `tenants` took from the first object to the last that is ready, and what the operator used at most."""

    tenants: int
    kills: int
    declared_s: float
    ready_s: float
    cpu_s: float
    rss_mib: float


def declare(
    kube: Kube,
    operator: OperatorProcess,
    namespace: str,
    names: Sequence[str],
    *,
    kill_at: Sequence[int] = (),
    limit_s: float,
    report: Callable[[str], object],
) -> Taken:
    """Declare tenants and wait until all are ready; kill the operator as soon as so many are.

    Raises `TimeoutError` after `limit_s` seconds.
    """
    kills = sorted(kill_at)
    used = _Used()
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        applied = [threads.submit(kube.apply, ledger_tenant(namespace, name)) for name in names]
        declared_s = 0.0
        while (ready := _ready(kube, namespace)) < len(names):
            elapsed_s = time.monotonic() - began
            report(f"{elapsed_s:6.1f} s  {ready} ready, {used.rss_mib:.0f} MiB")
            if elapsed_s > limit_s:
                raise TimeoutError(f"only {ready} of {len(names)} tenants are ready after {limit_s} s")
            if not declared_s and all(one.done() for one in applied):
                declared_s = elapsed_s
            used.look(operator)
            if kills and ready >= kills[0]:
                del kills[0]
                operator.send(signal.SIGKILL)
                operator.wait()
                operator.start()
            time.sleep(_POLL_S)
        ready_s = time.monotonic() - began
        used.look(operator)
    return Taken(
        tenants=len(names),
        kills=len(kill_at),
        declared_s=round(declared_s, 1),
        ready_s=round(ready_s, 1),
        cpu_s=round(used.cpu_s, 1),
        rss_mib=round(used.rss_mib, 1),
    )


class _Used:
    """What the processes of an operator have used, one after the other."""

    def __init__(self) -> None:
        self.rss_mib = 0.0
        self._cpu_s: dict[int, float] = {}

    @property
    def cpu_s(self) -> float:
        """CPU time of all of them."""
        return sum(self._cpu_s.values())

    def look(self, operator: OperatorProcess) -> None:
        """Look at the one that runs."""
        process = operator.process()
        times = process.cpu_times()
        self._cpu_s[process.pid] = times.user + times.system
        self.rss_mib = max(self.rss_mib, process.memory_info().rss / _MEBIBYTE)


def _ready(kube: Kube, namespace: str) -> int:
    return sum((condition(one) or ("", ""))[0] == "True" for one in kube.list("LedgerTenant", namespace))
