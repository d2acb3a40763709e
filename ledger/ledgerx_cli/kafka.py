"""How subcommands reach Kafka."""

import os
from pathlib import Path

from ledgerx.settings import PREFIX, load
from ledgerx_cli.platform import find
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings


def kafka_access(data: Path) -> KafkaAccess:
    """The Kafka that `LEDGERX_KAFKA` and its companions name, else that of the platform running on `data`.

    Raises `ConfigurationError` where there is neither.
    """
    given = PREFIX + "KAFKA" in os.environ
    return KafkaAccess(load(KafkaSettings) if given else KafkaSettings(kafka=find(data).kafka))
