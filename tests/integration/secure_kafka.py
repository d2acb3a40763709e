"""A real broker with listeners of TLS and SASL beside its plain one, and what clients need to get in."""

import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from ledgerx_cli.embedded import kafka
from ledgerx_cli.ports import LOOPBACK, free_ports
from ledgerx_cli.supervisor import Supervisor
from tests.certificates import Authority, Signed

USERNAME = "ledgerx"
_ITERATIONS = 4096
_SHA_512 = 2
_LISTENERS = """
listeners=CLIENT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
advertised.listeners=CLIENT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,TLS:SSL
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
listener.name.tls.ssl.client.auth=required
listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{username}="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS
"""
# The codes of https://kafka.apache.org/protocol and of Kafka's Java enumerations of the same names.
_TOPIC, _LITERAL, _WRITE, _DENY = 2, 3, 4, 2
_CLUSTER, _CREATE, _DESCRIBE, _ALLOW = 4, 5, 8, 3


class SecureKafka(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that let a part in, for each kind of listener."""

    plain: str
    scram: dict[str, str]
    sasl_plain: dict[str, str]
    mutual_tls: dict[str, str]


async def start_secure_kafka(directory: Path, supervisor: Supervisor) -> SecureKafka:
    """Start the broker in `directory`, with the platform's topics."""
    authority = Authority(directory, "authority")
    client: Signed = authority.sign("client")
    broker = kafka.prepare(directory / "kafka", progress=lambda _done, _due: None)
    sasl, tls, controller = free_ports(0, 0, 0)
    password = secrets.token_hex(16)
    properties = broker.directory / "server.properties"
    # Of a key that stands twice the last one counts.
    lines = properties.read_text() + f"\ncontroller.quorum.voters=1@{LOOPBACK}:{controller}\n"
    properties.write_text(
        lines
        + _LISTENERS.format(
            plain=broker.port,
            controller=controller,
            sasl=sasl,
            tls=tls,
            keystore=authority.sign("broker").both,
            truststore=authority.certificate,
            username=USERNAME,
            password=password,
        )
    )
    await supervisor.start(msgspec.structs.replace(broker.part(), name="secure-kafka"))
    await _set_scram_password(broker.bootstrap, password)
    await kafka.create_topics(broker.access)
    trust = {"LEDGERX_KAFKA_CA_FILE": str(authority.certificate)}
    password_file = directory / "password"
    password_file.write_text(f"{password}\n")
    login = {
        **trust,
        "LEDGERX_KAFKA": f"{LOOPBACK}:{sasl}",
        "LEDGERX_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "LEDGERX_KAFKA_USERNAME": USERNAME,
    }
    return SecureKafka(
        plain=broker.bootstrap,
        scram={**login, "LEDGERX_KAFKA_PASSWORD_FILE": str(password_file)},
        sasl_plain={**login, "LEDGERX_KAFKA_PASSWORD": password, "LEDGERX_KAFKA_SASL_MECHANISM": "PLAIN"},
        mutual_tls={
            **trust,
            "LEDGERX_KAFKA": f"{LOOPBACK}:{tls}",
            "LEDGERX_KAFKA_SECURITY_PROTOCOL": "SSL",
            "LEDGERX_KAFKA_CERT_FILE": str(client.certificate),
            "LEDGERX_KAFKA_KEY_FILE": str(client.key),
        },
    )


@asynccontextmanager
async def write_denied(bootstrap: str, topic: str) -> AsyncIterator[None]:
    """Let `USERNAME` not write to a topic meanwhile. `bootstrap` is that of the plain listener."""
    rule = (_TOPIC, topic, _LITERAL, f"User:{USERNAME}", "*", _WRITE, _DENY)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        made = await admin._send_request(CreateAclsRequest(*rule))
        assert [code for code, _ in made.creation_responses] == [0]
        yield
        gone = await admin._send_request(DeleteAclsRequest(*rule))
        assert [code for code, *_ in gone.filter_responses] == [0]
    finally:
        await admin.close()


@asynccontextmanager
async def creation_denied(bootstrap: str) -> AsyncIterator[None]:
    """Let `USERNAME` see topics and make none meanwhile. `bootstrap` is that of the plain listener.

    Where there is a rule for a resource, what no rule allows is denied.
    """
    of_user = (_LITERAL, f"User:{USERNAME}", "*")
    rules = [(_CLUSTER, "kafka-cluster", *of_user, _CREATE, _DENY), (_TOPIC, "*", *of_user, _DESCRIBE, _ALLOW)]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        for rule in rules:
            made = await admin._send_request(CreateAclsRequest(*rule))
            assert [code for code, _ in made.creation_responses] == [0]
        yield
        for rule in rules:
            gone = await admin._send_request(DeleteAclsRequest(*rule))
            assert [code for code, *_ in gone.filter_responses] == [0]
    finally:
        await admin.close()


async def _set_scram_password(bootstrap: str, password: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin._send_request(_AlterScram(password))
    finally:
        await admin.close()
    [(_, code, message, _)] = answer.results
    assert code == 0, message


# The request is in Kafka's protocol and not among aiokafka's:
# https://kafka.apache.org/protocol#The_Messages_AlterUserScramCredentials
class _AlterScramResponse(Response):  # type: ignore[misc]
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterScramStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _AlterScramResponse
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterScram(Request[_AlterScramStruct]):  # type: ignore[misc]
    API_KEY = 51

    def __init__(self, password: str) -> None:
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
        self._upsertion: tuple[Any, ...] = (USERNAME, _SHA_512, _ITERATIONS, salt, salted, {})

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        return request_struct_class([], [self._upsertion], {})
