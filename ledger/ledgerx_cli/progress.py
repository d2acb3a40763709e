"""What happens while a platform starts, runs and stops."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec


class PartStarting(msgspec.Struct, frozen=True, tag_field="event", tag="part_starting"):
    """A part is being started for the first time."""

    part: str


class PartReady(msgspec.Struct, frozen=True, tag_field="event", tag="part_ready"):
    """A part answers, `after_s` seconds after its start."""

    part: str
    after_s: float


class PartCrashed(msgspec.Struct, frozen=True, tag_field="event", tag="part_crashed"):
    """A part ended by itself and is started again in `retry_in_s` seconds."""

    part: str
    exit_code: int
    retry_in_s: float


class PartKilled(msgspec.Struct, frozen=True, tag_field="event", tag="part_killed"):
    """A part did not stop when asked, and was killed after `after_s` seconds."""

    part: str
    after_s: float


class PartStopped(msgspec.Struct, frozen=True, tag_field="event", tag="part_stopped"):
    """A part is gone."""

    part: str


class Downloading(msgspec.Struct, frozen=True, tag_field="event", tag="downloading"):
    """Files of the embedded servers are on their way."""

    done_bytes: int
    total_bytes: int


class DatabaseReady(msgspec.Struct, frozen=True, tag_field="event", tag="database_ready"):
    """The schema is up to date and the demo tenant is there; this took `after_s` seconds."""

    after_s: float


class LeftoversStopped(msgspec.Struct, frozen=True, tag_field="event", tag="leftovers_stopped"):
    """Processes of a platform that was killed were found and ended."""

    pids: tuple[int, ...]


class Ready(msgspec.Struct, frozen=True, tag_field="event", tag="ready", kw_only=True):
    """Everything is up, `after_s` seconds after the command; the rest are URLs and paths.

    Without an API there are no URLs, and without a database of its own to make it in there is no demo tenant.
    """

    base_url: str | None = None
    docs_url: str | None = None
    logs: str
    demo: str | None = None
    demo_netrc: str | None = None
    after_s: float


Event: TypeAlias = (
    PartStarting
    | PartReady
    | PartCrashed
    | PartKilled
    | PartStopped
    | Downloading
    | DatabaseReady
    | LeftoversStopped
    | Ready
)
Report: TypeAlias = Callable[[Event], None]
