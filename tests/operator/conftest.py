"""A real API server, with the custom resources, and a PostgreSQL whose administrator is no superuser."""

import asyncio
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.supervisor import Supervisor
from tests.integration.api_process import ApiProcess
from tests.operator.kube import CRDS, ROOT, Kube, condition, eventually, objects
from tests.operator.operator_process import OperatorProcess, api_of, bring_database, new_database

CLUSTER = ROOT / os.environ.get("LEDGERX_CLUSTER", "../shared/kube/cluster")
NO_CLUSTER = (
    f"there is no cluster: set KUBECONFIG to one (its API server is enough), or LEDGERX_CLUSTER to a program that "
    f"brings one up; {CLUSTER} does not exist"
)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory, short enough for Unix sockets."""
    made = Path(tempfile.mkdtemp(prefix="ledgerx-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def control_plane(directory: Path) -> Iterator[Path]:
    """The kubeconfig of the cluster that KUBECONFIG names, or of a control plane made for the while."""
    if os.environ.get("KUBECONFIG"):
        yield Path(os.environ["KUBECONFIG"])
        return
    folder = f"--dir={directory / 'kube'}"
    up = subprocess.run([CLUSTER, "up", "--control-plane-only", folder], stdout=subprocess.PIPE, text=True, check=True)
    try:
        yield Path(up.stdout.splitlines()[-1])
    finally:
        subprocess.run([CLUSTER, "down", folder], check=True)


@contextmanager
def prepared(kubeconfig: Path) -> Iterator[Kube]:
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
    try:
        yield cluster
    finally:
        cluster.close()


@contextmanager
def serving(server: Postgres, directory: Path) -> Iterator[Postgres]:
    """The server, made and started, until the end of the block."""
    server.initialise()
    with asyncio.Runner() as runner:
        parts = Supervisor(run=directory, logs=directory, report=lambda _event: None)
        runner.run(parts.start(server.part()))
        try:
            yield server
        finally:
            runner.run(parts.stop())


@contextmanager
def platform_server(directory: Path, password: str) -> Iterator[Postgres]:
    """A PostgreSQL on which no role of ours exists yet, with the administrator `platform`, who is no superuser."""
    server = Postgres(directory=directory / "postgres", password=secrets.token_urlsafe(16))
    with serving(server, directory), psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE platform LOGIN CREATEROLE REPLICATION PASSWORD {}").format(sql.Literal(password))
        )
        connection.close()
        yield server


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """A directory of the session."""
    with scratch() as made:
        yield made


@pytest.fixture(scope="session")
def kubeconfig(directory: Path) -> Iterator[Path]:
    """The kubeconfig of the cluster."""
    if not os.environ.get("KUBECONFIG") and not CLUSTER.exists():
        pytest.skip(NO_CLUSTER)
    with control_plane(directory) as path:
        yield path


@pytest.fixture(scope="session")
def kube(kubeconfig: Path) -> Iterator[Kube]:
    """The cluster with the custom resources."""
    with prepared(kubeconfig) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def platform_password() -> str:
    """The password of the administrator of databases."""
    return secrets.token_urlsafe(16)


@pytest.fixture(scope="session")
def postgres_server(directory: Path, platform_password: str) -> Iterator[Postgres]:
    """A server of the session's own."""
    with platform_server(directory, platform_password) as server:
        yield server


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


@pytest.fixture
def operator(operators: Callable[..., OperatorProcess], namespace: str, admin_url: str) -> OperatorProcess:
    """An operator for `namespace` with the database `main`."""
    started = operators(namespace)
    bring_database(started, admin_url)
    return started


@pytest.fixture
def api(operator: OperatorProcess, directory: Path) -> Iterator[ApiProcess]:
    """The API on that database, as the role whose URL the operator hands out."""
    process = api_of(operator, directory)
    process.start()
    yield process
    process.end()
