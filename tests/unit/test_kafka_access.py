"""The settings of Kafka, and what they mean to its clients."""

import ssl
from pathlib import Path

import pytest

from ledgerx import settings
from ledgerx.errors import ConfigurationError
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from tests.certificates import Authority

SASL = {"KAFKA_USERNAME": "ledgerx", "KAFKA_PASSWORD": "s3cret"}


def access(**given: str) -> KafkaAccess:
    return KafkaAccess(settings.load(KafkaSettings, {f"LEDGERX_{name}": value for name, value in given.items()}))


def test_by_default_it_is_plaintext() -> None:
    reach = access(KAFKA="one:9092, two:9092")
    assert reach.aiokafka() == {
        "bootstrap_servers": ["one:9092", "two:9092"],
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }
    assert reach.faust() == {"broker": "kafka://one:9092;kafka://two:9092"}


def test_tls_verifies_the_brokers_name() -> None:
    context = access(KAFKA="one:9093", KAFKA_SECURITY_PROTOCOL="SSL").aiokafka()["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_login_is_the_same_to_both_libraries() -> None:
    reach = access(KAFKA="one:9093", KAFKA_SECURITY_PROTOCOL="SASL_SSL", **SASL)
    options, credentials = reach.aiokafka(), reach.faust()["broker_credentials"]
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert credentials.ssl_context is options["ssl_context"]
    assert credentials.password == options["sasl_plain_password"] == "s3cret"
    assert "s3cret" not in repr(credentials)


@pytest.mark.parametrize(
    "given",
    [
        {"KAFKA": ""},
        {"KAFKA_SECURITY_PROTOCOL": "TLS"},
        {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "GSSAPI", **SASL},
        {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_USERNAME": "ledgerx"},
        {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_PASSWORD": "s3cret"},
        {"KAFKA_SECURITY_PROTOCOL": "SSL", **SASL},
        {"KAFKA_CA_FILE": "/etc/ca.pem"},
        {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_CA_FILE": "/etc/ca.pem", **SASL},
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_CERT_FILE": "/etc/client.pem"},
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_CA_FILE": "/nowhere/ca.pem"},
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_CERT_FILE": "/nowhere/c.pem", "KAFKA_KEY_FILE": "/nowhere/k.pem"},
    ],
)
def test_settings_that_do_not_go_together_are_an_error(given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        access(**{"KAFKA": "one:9093", **given})
    assert "LEDGERX_KAFKA" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_client_certificate_is_loaded(tmp_path: Path) -> None:
    client = Authority(tmp_path, "authority").sign("client")
    files = {"KAFKA_CERT_FILE": str(client.certificate), "KAFKA_KEY_FILE": str(client.key)}
    reach = access(KAFKA="one:9093", KAFKA_SECURITY_PROTOCOL="SSL", **files)
    assert reach.faust()["broker_credentials"].context is reach.aiokafka()["ssl_context"]
    mismatched = {**files, "KAFKA_KEY_FILE": str(Authority(tmp_path, "other").sign("other").key)}
    with pytest.raises(ConfigurationError, match="cannot be used for TLS"):
        access(KAFKA="one:9093", KAFKA_SECURITY_PROTOCOL="SSL", **mismatched)
