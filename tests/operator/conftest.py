"""A real API server, with the custom resources, and a PostgreSQL whose administrator is no superuser."""

import asyncio
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.supervisor import Supervisor
from tests.operator.kube import CRDS, ROOT, Kube, condition, eventually, objects
from tests.operator.operator_process import OperatorProcess, new_database

CLUSTER = Path(os.environ.get("LEDGERX_CLUSTER", ROOT / "../shared/kube/cluster"))
NO_CLUSTER = (
    f"there is no cluster: set KUBECONFIG to one (its API server is enough), or LEDGERX_CLUSTER to a program that "
    f"brings one up; {CLUSTER} does not exist"
)


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """A directory of the session, short enough for Unix sockets."""
    made = Path(tempfile.mkdtemp(prefix="ledgerx-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def kubeconfig(directory: Path) -> Iterator[Path]:
    """That of the cluster that KUBECONFIG names, or of a control plane of the session's own."""
    if os.environ.get("KUBECONFIG"):
        yield Path(os.environ["KUBECONFIG"])
        return
    if not CLUSTER.exists():
        pytest.skip(NO_CLUSTER)
    folder = f"--dir={directory / 'kube'}"
    up = subprocess.run([CLUSTER, "up", "--control-plane-only", folder], stdout=subprocess.PIPE, text=True, check=True)
    yield Path(up.stdout.splitlines()[-1])
    subprocess.run([CLUSTER, "down", folder], check=True)


@pytest.fixture(scope="session")
def kube(kubeconfig: Path) -> Iterator[Kube]:
    """The cluster with the custom resources."""
    cluster = Kube(kubeconfig)
    for path in CRDS:
        [definition] = objects(path)
        cluster.apply(definition)
        name = definition["metadata"]["name"]
        eventually(
            partial(cluster.get, "CustomResourceDefinition", "", name),
            lambda found: condition(found, "Established") == ("True", "InitialNamesAccepted"),
        )
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def platform_password() -> str:
    """The password of the role `platform`, which may make roles and stream changes, and no more."""
    return secrets.token_urlsafe(16)


@pytest.fixture(scope="session")
def postgres_server(directory: Path, platform_password: str) -> Iterator[Postgres]:
    """A server of the session's own, on which no role of ours exists yet."""
    server = Postgres(directory=directory / "postgres", password=secrets.token_urlsafe(16))
    server.initialise()
    with asyncio.Runner() as runner:
        parts = Supervisor(run=directory, logs=directory, report=lambda _event: None)
        runner.run(parts.start(server.part()))
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE platform LOGIN CREATEROLE REPLICATION PASSWORD {}").format(
                    sql.Literal(platform_password)
                )
            )
        yield server
        runner.run(parts.stop())


@pytest.fixture
def admin_url(postgres_server: Postgres, platform_password: str) -> str:
    """The administrator's URL of an empty database."""
    return new_database(postgres_server, platform_password)


@pytest.fixture
def namespace(kube: Kube) -> str:
    """A namespace for tenants."""
    return kube.new_namespace("tenants")


@pytest.fixture
def operators(kube: Kube, directory: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts operators, and ends them with the test."""
    started: list[OperatorProcess] = []

    def start(*watched: str, **settings: str) -> OperatorProcess:
        operator = OperatorProcess(kube, directory, *watched, **settings)
        started.append(operator)
        operator.start()
        return operator

    yield start
    for operator in started:
        operator.end()
