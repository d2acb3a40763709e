"""A server that speaks S3: S3Proxy, which checks signatures and their expiry, over a folder."""

import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.store import S3Store

from ledgerx_cli.embedded import jars, java
from ledgerx_cli.embedded.jars import Jar
from ledgerx_cli.ports import free_port

_VERSION = "4.1.0"
_LOCK = Path(__file__).parents[1] / "data" / f"s3proxy-{_VERSION}-jars.lock"
_BUCKET = "exports"
_PROPERTIES = """\
s3proxy.authorization=aws-v4
s3proxy.endpoint=http://127.0.0.1:{port}
s3proxy.identity={identity}
s3proxy.credential={credential}
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir={folder}
"""
_LOGBACK = '<configuration><root level="WARN"/></configuration>'


class S3Server:
    """A running server with one bucket."""

    def __init__(self, port: int, identity: str, credential: str) -> None:
        self.url = f"s3://{_BUCKET}/some/prefix"
        self.environment: Mapping[str, str] = {
            "AWS_ACCESS_KEY_ID": identity,
            "AWS_SECRET_ACCESS_KEY": credential,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        self.store = S3Store(
            _BUCKET,
            prefix="some/prefix",
            endpoint=self.environment["AWS_ENDPOINT_URL"],
            access_key_id=identity,
            secret_access_key=credential,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def paths(self) -> list[str]:
        """What is in the bucket below the prefix."""
        return [found["path"] for page in obstore.list(self.store) for found in page]


@contextmanager
def run_s3_server(directory: Path) -> Iterator[S3Server]:
    """Run a server with its files in `directory`."""
    lines = _LOCK.read_text(encoding="ascii").splitlines()
    locked = [Jar(coordinate, int(size), sha256) for coordinate, size, sha256 in map(str.split, lines)]
    paths = jars.fetch(locked, jars.cache_directory() / f"s3proxy-{_VERSION}", progress=lambda _done, _due: None)
    folder = directory / "files"
    (folder / _BUCKET).mkdir(parents=True)
    port, identity, credential = free_port(), secrets.token_hex(8), secrets.token_hex(16)
    properties = directory / "s3proxy.conf"
    properties.write_text(
        _PROPERTIES.format(port=port, identity=identity, credential=credential, folder=folder), encoding="ascii"
    )
    (directory / "logback.xml").write_text(_LOGBACK, encoding="ascii")
    command = [str(java.find().path), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += [f"-Dlogback.configurationFile={directory / 'logback.xml'}", "-cp", ":".join(map(str, paths))]
    process = subprocess.Popen([*command, "org.gaul.s3proxy.Main", "--properties", str(properties)])
    try:
        server = S3Server(port, identity, credential)
        while not _answers(server):
            assert process.poll() is None
        yield server
    finally:
        process.kill()
        process.wait()


def _answers(server: S3Server) -> bool:
    try:
        server.paths()
    except obstore.exceptions.BaseError:
        return False
    return True
