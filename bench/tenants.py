"""How long many tenants take that are declared at once, from the first object to the last that is ready.

    .venv/bin/python -m bench.tenants 1000

Starts a PostgreSQL and an operator of its own against the API server that KUBECONFIG names, or against a control plane
that it brings up itself, as the operator's tests do.
"""

import sys
from contextlib import ExitStack

import msgspec

from tests.operator import conftest
from tests.operator.many_tenants import declare
from tests.operator.operator_process import OperatorProcess, bring_database, new_database

_LIMIT_S = 3_600.0


def main(count: int) -> None:
    """Declare `count` tenants and print what that took as JSON."""
    with ExitStack() as stack:
        directory = stack.enter_context(conftest.scratch())
        kube = stack.enter_context(conftest.prepared(stack.enter_context(conftest.control_plane(directory))))
        server = stack.enter_context(conftest.platform_server(directory, "bench"))
        namespace = kube.new_namespace("tenants")
        operator = OperatorProcess(kube, directory, namespace, DRIFT_INTERVAL_S="300")
        operator.start()
        stack.callback(operator.end)
        bring_database(operator, new_database(server, "bench"))
        names = [f"shop-{n}" for n in range(count)]
        taken = declare(
            kube,
            operator,
            namespace,
            names,
            limit_s=_LIMIT_S,
            report=lambda line: sys.stderr.write(f"{line}\n"),
        )
        print(msgspec.json.encode(taken).decode())  # noqa: T201 - a script


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
