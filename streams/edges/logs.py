"""Messages on stderr: plain text for people, or one JSON object a line for machines."""

import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiokafka.errors import KafkaError

from streams.edges.errors import SurgewatchError
from streams.edges.settings_list import Settings

_CHATTY: Final = (
    "aiokafka",
    "asyncio",
    "faust",
    "kafka",
    "mode",
    "streams.edges.transport",
    "streams.edges.transport_consumer",
    "streams.edges.transport_thread",
)
"""Libraries that tell of their daily work; below a warning it is of use in debugging only."""
_PASSING: Final = (
    "Group Coordinator Request failed",
    "Topic %s not found in cluster metadata",
    "Unable connect to node with id",
    "Unable to update metadata from",
    "Heartbeat session expired",
    "Heartbeat send request failed",
    "OffsetCommit failed for group",
)
_GIVEN_UP: Final = ("Task exception was never retrieved", "_do_commit_offsets()")
"""In what asyncio says of aiokafka's commit when nobody waits for it any more."""
_SELDOM_SECONDS: Final = 30.0


class TextFormatter(logging.Formatter):
    """One line a message: UTC time, level, text; a traceback follows it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Write the time in UTC, to the millisecond (the name is logging's)."""
        return _iso_of(record.created)


class JsonFormatter(logging.Formatter):
    """One JSON object a message: ``at``, ``level``, ``logger``, ``message``, ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; a line break in the message stays inside it."""
        told = {
            "at": _iso_of(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(told).decode()


class Seldom(logging.Filter):
    """Lets one message of a kind through every half minute.

    The client's library tells of a lost broker 50 times a second.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this message is not like one of the last half minute."""
        if not record.name.startswith(_CHATTY):
            return True
        kind, now = (record.name, str(record.msg)), self._clock()
        if now - self._told.get(kind, -_SELDOM_SECONDS) < _SELDOM_SECONDS:
            return False
        self._told[kind] = now
        return True


class Untold(logging.Filter):
    """Holds back what a library says about an error of ours: the worker ends with its one line.

    And how a commit ended that nobody waits for any more: that it was given up is told, and it is
    tried again.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this message is about anything else."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, KafkaError) and record.name == "asyncio":
            message = record.getMessage()
            return not all(words in message for words in _GIVEN_UP)
        return not (isinstance(error, SurgewatchError) and record.name.startswith(_CHATTY))


class Passing(logging.Filter):
    """Lowers what a library calls an error, but which passes: a group's first join, a new topic.

    What does not pass is told by us, in plain words.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every message through, some as a warning."""
        if record.levelno == logging.ERROR and str(record.msg).startswith(_PASSING):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def set_up_logs(settings: Settings) -> None:
    """Send messages of this process to stderr as the settings want; replaces what was set up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    if settings.log_level != "debug":
        handler.addFilter(Untold())
        handler.addFilter(Seldom(time.monotonic))
        handler.addFilter(Passing())
    level = settings.log_level.upper()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        is_quiet = settings.log_level in {"debug", "error"}
        logging.getLogger(name).setLevel(logging.NOTSET if is_quiet else logging.WARNING)


def _iso_of(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, tz=UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
