"""How long many tenants take that are declared at once, from the first object to the last that is ready.

    .venv/bin/python -m bench.tenants 1000

Starts a PostgreSQL and an operator of its own against the API server that KUBECONFIG names, or against a control plane
that it brings up itself, as the operator's tests do.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.operator import conftest
from tests.operator.kube import Kube, condition
from tests.operator.operator_process import OperatorProcess, bring_database, ledger_tenant, new_database

_POLL_S = 0.5


def main(count: int) -> None:
    """Declare `count` tenants and print what that took."""
    with ExitStack() as stack:
        directory = stack.enter_context(conftest.scratch())
        kube = stack.enter_context(conftest.prepared(stack.enter_context(conftest.control_plane(directory))))
        server = stack.enter_context(conftest.platform_server(directory, "bench"))
        namespace = kube.new_namespace("tenants")
        operator = OperatorProcess(kube, directory, namespace, DRIFT_INTERVAL_S="300")
        operator.start()
        stack.callback(operator.end)
        bring_database(operator, new_database(server, "bench"))
        _measure(kube, operator, namespace, count)


def _measure(kube: Kube, operator: OperatorProcess, namespace: str, count: int) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(kube.apply, (ledger_tenant(namespace, f"shop-{n}") for n in range(count))))
    declared_s = time.monotonic() - began
    while (done := _ready(kube, namespace)) < count:
        sys.stderr.write(f"{time.monotonic() - began:6.1f} s  {done} ready\n")
        time.sleep(_POLL_S)
    process = operator.process()
    usage = process.cpu_times()
    print(  # noqa: T201 - a script
        f"{count} tenants: declared after {declared_s:.1f} s, all ready after {time.monotonic() - began:.1f} s; "
        f"operator {usage.user + usage.system:.1f} s of CPU, {process.memory_info().rss / 2**20:.0f} MiB"
    )


def _ready(kube: Kube, namespace: str) -> int:
    return sum((condition(one) or ("", ""))[0] == "True" for one in kube.list("LedgerTenant", namespace))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
