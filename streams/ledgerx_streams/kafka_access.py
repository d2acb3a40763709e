"""How every client of ours reaches Kafka: the settings, and what they mean to aiokafka and to Faust.

TLS always verifies the broker's certificate and its name.
"""

import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ledgerx.errors import ConfigurationError
from ledgerx.settings import Secret

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings of a part that uses Kafka begin with.

    `kafka` is a comma-separated list of bootstrap servers. `kafka_ca_file` holds the certificates that brokers are
    trusted by, the system's without it; `kafka_cert_file` and `kafka_key_file` are those of a client certificate (PEM).
    """

    kafka: Annotated[str, Meta(min_length=1)]
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    kafka_ca_file: Path | None = None
    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None
    kafka_key_password: Secret | None = None
    kafka_sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: Secret | None = None


class KafkaAccess:
    """The options of clients, made once of the settings. Raises `ConfigurationError` where those do not go together."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._servers = [server.strip() for server in settings.kafka.split(",")]
        self._protocol = settings.kafka_security_protocol
        self._tls = _tls(settings)
        self._mechanism = settings.kafka_sasl_mechanism
        self._login = _login(settings)

    def aiokafka(self) -> dict[str, Any]:
        """Keyword arguments of an aiokafka producer, consumer or admin client."""
        options: dict[str, Any] = {
            "bootstrap_servers": self._servers,
            "security_protocol": self._protocol,
            "ssl_context": self._tls,
        }
        if self._login is not None:
            username, password = self._login
            options |= {
                "sasl_mechanism": self._mechanism,
                "sasl_plain_username": username,
                "sasl_plain_password": password.reveal(),
            }
        return options

    def faust(self) -> dict[str, Any]:
        """Keyword arguments of a Faust app."""
        from faust import SASLCredentials, SSLCredentials  # noqa: PLC0415 - the relay can do without

        options: dict[str, Any] = {"broker": ";".join(f"kafka://{server}" for server in self._servers)}
        if self._login is not None:
            username, password = self._login
            options["broker_credentials"] = SASLCredentials(
                username=username, password=password.reveal(), ssl_context=self._tls, mechanism=self._mechanism
            )
        elif self._tls is not None:
            options["broker_credentials"] = SSLCredentials(self._tls)
        return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext | None:
    if not settings.kafka_security_protocol.endswith("SSL"):
        _refuse(settings, "kafka_ca_file", "kafka_cert_file", "kafka_key_file", "kafka_key_password")
        return None
    cert, key, password = settings.kafka_cert_file, settings.kafka_key_file, settings.kafka_key_password
    if (cert is None) != (key is None):
        raise ConfigurationError("LEDGERX_KAFKA_CERT_FILE and LEDGERX_KAFKA_KEY_FILE belong together")
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        if cert is not None:
            # Without an answer OpenSSL would ask for the password at the terminal.
            context.load_cert_chain(cert, key, lambda: password.reveal() if password else "")
    except OSError as error:
        raise ConfigurationError(f"the files of LEDGERX_KAFKA_*_FILE cannot be used for TLS: {error}") from None
    return context


def _login(settings: KafkaSettings) -> tuple[str, Secret] | None:
    if not settings.kafka_security_protocol.startswith("SASL"):
        _refuse(settings, "kafka_username", "kafka_password")
        return None
    if settings.kafka_username is None or settings.kafka_password is None:
        raise ConfigurationError("SASL needs LEDGERX_KAFKA_USERNAME and LEDGERX_KAFKA_PASSWORD")
    return settings.kafka_username, settings.kafka_password


def _refuse(settings: KafkaSettings, *names: str) -> None:
    """A setting that would not be used is a mistake, and one that could send what it protects in the clear."""
    protocol = f"LEDGERX_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol}"
    for name in names:
        if getattr(settings, name) is not None:
            raise ConfigurationError(f"LEDGERX_{name.upper()} has no use with {protocol}")
