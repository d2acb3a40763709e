"""What the operator makes of its configuration, before anything it lists can be reached."""

import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
import pytest
import yaml

from ledgerx.keys import Keyset
from ledgerx.sealing import SealingKeys
from ledgerx_cli.embedded.postgres import Postgres
from tests.operator.conftest import scratch, serving
from tests.operator.kube import Kube, eventually
from tests.operator.operator_process import OperatorProcess, ready, refused

ROLES = ("api", "streams", "relay")


def configuration(path: Path, uri: str) -> str:
    """A file that lists a database and the administrator's Secret to reach it."""
    listed = {
        "databases": [{"name": "primary", "spec": {"adminSecretRef": {"name": "postgres"}, "maxTenants": 7}}],
        "adminSecrets": [{"name": "postgres", "uri": uri}],
    }
    path.write_text(yaml.safe_dump(listed))
    return str(path)


def test_pods_can_mount_their_secrets_before_there_is_a_database(
    kube: Kube, operators: Callable[..., OperatorProcess], namespace: str
) -> None:
    with scratch() as directory:
        to_come = Postgres(directory=directory / "postgres", password="PASSWORD")
        uri = to_come.url().replace("PASSWORD", "{password}")
        operator = operators(namespace, CONFIGURATION=configuration(directory / "configuration.yaml", uri))
        here = operator.namespace
        refused(kube, here, "primary", "DatabaseUnavailable", "LedgerDatabase")
        before = {role: kube.secret(here, f"ledgerx-databases-{role}") for role in ROLES}
        assert all(urls is not None and urls.keys() == {"primary"} for urls in before.values())
        keys = kube.secret(here, "ledgerx-keys") or {}
        assert keys.keys() == {"signing.json", "sealing.json", "checkpoints.json"}
        signing, checkpoints = (
            msgspec.json.decode(keys[f"{name}.json"], type=Keyset) for name in ("signing", "checkpoints")
        )
        assert signing.current.kid != checkpoints.current.kid
        assert msgspec.json.decode(keys["sealing.json"], type=SealingKeys).ciphers
        admin = kube.secret(here, "postgres") or {}
        assert admin["uri"] == uri.format(password=admin["password"])

        with serving(msgspec.structs.replace(to_come, password=admin["password"]), directory):
            found = ready(kube, "LedgerDatabase", here, "primary")
            assert found["spec"]["maxTenants"] == 7
            # What was mounted is good now, and stays so with another operator.
            operator.send(signal.SIGTERM)
            assert operator.wait() == 0
            kube.patch("LedgerDatabase", here, "primary", {"spec": {"maxTenants": 9, "schedulable": False}})
            operator.start()
            changed = eventually(
                lambda: kube.get("LedgerDatabase", here, "primary")["spec"], lambda spec: spec["maxTenants"] == 7
            )
            assert changed["schedulable"] is False
            ready(kube, "LedgerDatabase", here, "primary")
            for role, urls in before.items():
                assert kube.secret(here, f"ledgerx-databases-{role}") == urls
                with psycopg.connect((urls or {})["primary"]) as connection:
                    assert connection.execute("SELECT current_user").fetchone() == (f"ledgerx_{role}",)
            assert (kube.secret(here, "ledgerx-keys"), kube.secret(here, "postgres")) == (keys, admin)
            operator.end()


def test_secrets_that_are_there_are_left_alone(
    kube: Kube, operators: Callable[..., OperatorProcess], namespace: str, directory: Path
) -> None:
    here = kube.new_namespace("operator")
    for name in ("ledgerx-keys", "postgres"):
        metadata = {"name": name, "namespace": here}
        kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"signing.json": "e30="}})
    operators(namespace, namespace=here, CONFIGURATION=configuration(directory / "configuration.yaml", "{password}"))
    # The last thing that it makes.
    eventually(lambda: kube.get("LedgerDatabase", here, "primary"))
    for name in ("ledgerx-keys", "postgres"):
        assert kube.secret(here, name) == {"signing.json": "{}"}


@pytest.mark.parametrize(
    "text", ["databases: [{name: a}]", "adminSecrets: [{name: a, uri: 'x'}]", "unknown: 1", "a: ["]
)
def test_a_configuration_that_is_none_is_told_at_once(
    kube: Kube, directory: Path, namespace: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "configuration.yaml"
    path.write_text(text)
    operator = OperatorProcess(kube, directory, namespace, CONFIGURATION=str(path))
    with pytest.raises(AssertionError, match="ledgerx: LEDGERX_CONFIGURATION: "):
        operator.start()
