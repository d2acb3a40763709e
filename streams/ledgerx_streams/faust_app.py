"""Faust as this project uses it: the streams, without its command line, web server, tables and log settings."""

from typing import Any, ClassVar

import faust
import uvloop
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerT, TopicT
from mode import CrashingSupervisor
from mode.utils.queues import ThrowableQueue

from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.topics import DEAD_LETTER_MAX_BYTES, GROUP

# A worker that vanishes is replaced once its session ends.
_SESSION_TIMEOUT_S = 10
_HEARTBEAT_INTERVAL_S = 3
_COMMIT_INTERVAL_S = 1
# Messages reach 900 KiB: this bounds the memory of the agent's queue.
_MESSAGES_BUFFERED = 32
_FETCH_MAX_WAIT_MS = 100


def build_app(kafka: KafkaAccess, directory: str) -> faust.App:
    """An app that consumes from `kafka` and may write files into `directory`."""
    app = _App(
        GROUP,
        **kafka.faust(),
        broker_session_timeout=_SESSION_TIMEOUT_S,
        broker_heartbeat_interval=_HEARTBEAT_INTERVAL_S,
        broker_commit_interval=_COMMIT_INTERVAL_S,
        consumer_auto_offset_reset="earliest",
        producer_max_request_size=DEAD_LETTER_MAX_BYTES,
        processing_guarantee="at_least_once",
        stream_buffer_maxsize=_MESSAGES_BUFFERED,
        # A restarted agent would go on behind the messages that the failed one held; a restarted process gets them.
        agent_supervisor=CrashingSupervisor,
        # What is under way when partitions move is applied once all the same: the heads see to that.
        stream_wait_empty=False,
        store="memory://",
        table_standby_replicas=0,
        datadir=directory,
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
    )
    app.transport = _Transport(app.conf.broker_consumer, app)
    return app


def raw_topic(app: faust.App, name: str) -> TopicT:
    """The topic `name`, its keys and values as bytes."""
    return app.topic(name, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")


class _BlockingQueue(ThrowableQueue[Any]):
    """A queue that holds the consumer up when it is full.

    Faust's own has the partition left out at 80 %, and a second may pass before anything is fetched from it again.
    """

    pressure_high_ratio = 0.5


class _App(faust.App):
    def FlowControlQueue(  # noqa: N802 - Faust's name
        self, maxsize: int | None = None, *, clear_on_resume: bool = False
    ) -> ThrowableQueue[Any]:
        return _BlockingQueue(maxsize=maxsize, flow_control=self.flow_control, clear_on_resume=clear_on_resume)


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches without the 1.5 s that Faust lets a fetch wait.

    aiokafka has one fetch under way for each broker: one that waits for idle partitions holds up the busy ones.
    """

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_MAX_WAIT_MS  # noqa: SLF001 - Faust passes a constant
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        # Its own loop would be asyncio's. This one is closed with the process.
        return _ConsumerThread(self, loop=self.loop, thread_loop=uvloop.new_event_loop(), beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer: ClassVar[type[ConsumerT]] = _Consumer
