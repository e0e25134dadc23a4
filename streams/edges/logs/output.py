"""Messages on stderr: lines for people, or one JSON object a line for machines.

Our own lines (``edges/logs/lines.py``) and those of libraries go one way: filters decide which are
told, structlog's processors give each its fields, and a renderer writes them.
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec
from aiokafka.errors import KafkaError
from structlog.contextvars import get_contextvars
from structlog.processors import format_exc_info
from structlog.stdlib import ProcessorFormatter

from streams.core.reports.stored_counts import shown
from streams.edges.errors import SurgewatchError
from streams.edges.logs.limit import HELD_BACK, WINDOW_SECONDS, Limit
from streams.edges.logs.lines import EVENT, FIELDS, SPOKEN, logger_of
from streams.edges.settings.list import Settings

_CHATTY: Final = (
    "aiokafka",
    "asyncio",
    "faust",
    "kafka",
    "mode",
    "streams.app.worker.faust_app",
    "streams.edges.transport.batch",
    "streams.edges.transport.consumer",
    "streams.edges.transport.thread",
)
"""Libraries that tell of their daily work; below a warning it is of use in debugging only.

Those of ours have classes derived from Faust's, which tell of it by the name of our module.
"""
_INDISCREET: Final = (
    "aiokafka.conn",
    "aiokafka.producer.producer",
    "kafka.admin.client",
    "kafka.net",
)
"""Debugging, they print whole requests and answers: records of people, and passwords."""
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
_TIMER: Final = "Timer %s is overlapping"
"""Faust's words for a commit to Kafka that took longer than a second, which harms nothing."""
_PLACE: Final = "surgewatch_place"
"""Attribute of a record: the partition that was worked on when the line was said."""

Told = MutableMapping[str, Any]

log = logger_of(__name__)


class Placed(logging.Filter):
    """Notes on each record which partition was worked on: another task may write it out."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every message through."""
        if not hasattr(record, _PLACE):
            setattr(record, _PLACE, get_contextvars())
        return True


class Untold(logging.Filter):
    """Holds back what a library says about an error of ours: the worker ends with its one line.

    And how a commit ended that nobody waits for any more: that it was given up is told, and it is
    tried again. And that one took long: what it waits for is told.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this message is about anything else."""
        if record.name == "mode.timers" and str(record.msg).startswith(_TIMER):
            return False
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


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to stderr; those that find no room there are counted, and the work goes on."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 logging's name
        """Count a line that could not be written; what is a bug of ours is told."""
        error = sys.exc_info()[1]
        if isinstance(error, (OSError, ValueError)):
            self.lost += 1
        else:
            super().handleError(record)


class Logs:
    """The messages of this process, as the settings want them."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = Limit(clock, _CHATTY)
        self._clock = clock
        self._lost_known = self._lost_told = 0
        self._lost_told_at = -WINDOW_SECONDS
        self._handler = LineHandler(sys.stderr)
        render = text_of if settings.log_format == "text" else json_of
        self._handler.setFormatter(formatter_of(worker_name_of(settings), render))
        self.set_level(settings.log_level)
        logging.basicConfig(handlers=[self._handler], force=True)
        logging.captureWarnings(capture=True)

    def set_level(self, level: str) -> None:
        """Tell what is of this weight and more; while debugging, all of it and nothing lowered."""
        quiet = (Untold(), Passing(), self._limit) if level != "debug" else ()
        self._handler.filters = [Placed(), *quiet]
        logging.getLogger().setLevel(level.upper())
        for name in _CHATTY:
            is_left = level in {"debug", "error"}
            logging.getLogger(name).setLevel(logging.NOTSET if is_left else logging.WARNING)
        for name in _INDISCREET:
            logging.getLogger(name).setLevel(logging.INFO if level == "debug" else logging.NOTSET)

    def take_suppressed(self) -> int:
        """How many lines were held back since the last call."""
        return self._limit.take_suppressed()

    def take_lost(self) -> int:
        """How many lines could not be written since the last call; told when there is room."""
        lost, now = self._handler.lost, self._clock()
        if lost > self._lost_told and now - self._lost_told_at >= WINDOW_SECONDS:
            self._lost_told_at = now
            log.warning(
                "lines_lost",
                "{lines} lines of this log could not be written until now: is its disk full?",
                lines=lost - self._lost_told,
            )
            if self._handler.lost == lost:  # this one could
                self._lost_told = lost
        before, self._lost_known = self._lost_known, self._handler.lost
        return self._lost_known - before

    def close(self) -> None:
        """Leave what cannot be written: Python's own last flush would end with an error."""
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stderr.fileno())

    def tell_suppressed(self, *, all_kinds: bool = False) -> None:
        """Tell how many lines were held back, of kinds whose half minute is over."""
        for last, count in self._limit.take_due(all_kinds=all_kinds):
            again = logging.makeLogRecord({**last.__dict__, HELD_BACK: count})
            again.created = time.time()
            self._handler.handle(again)


def set_up_logs(settings: Settings) -> Logs:
    """Send messages of this process to stderr as the settings want; replaces what was set up."""
    return Logs(settings)


def worker_name_of(settings: Settings) -> str:
    """How lines name this worker: its name in the group, or its machine and process."""
    return settings.kafka_instance_id or f"{socket.gethostname()}:{os.getpid()}"


def formatter_of(worker: str, render: Callable[[object, str, Told], str]) -> ProcessorFormatter:
    """The formatter of one worker's lines."""

    def fields_of(_logger: object, _method: str, told: Told) -> Told:
        record: logging.LogRecord = told["_record"]
        event = getattr(record, EVENT, None)
        fields = {
            "at": _iso_of(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            **({"event": event} if event else {}),
            "message": told["event"],
            "worker": worker,
            **getattr(record, _PLACE, {}),
            **getattr(record, FIELDS, {}),
            "_spoken": getattr(record, SPOKEN, frozenset()),
        }
        if held_back := getattr(record, HELD_BACK, 0):
            fields["like_this"] = held_back
        if "exception" in told:
            fields["traceback"] = told["exception"]
        return fields

    return ProcessorFormatter(processors=[format_exc_info, fields_of, render])


def json_of(_logger: object, _method: str, told: Told) -> str:
    """One JSON object; a line break in the message stays inside it."""
    del told["_spoken"]
    return msgspec.json.encode(told, enc_hook=str).decode()


def text_of(_logger: object, _method: str, told: Told) -> str:
    """UTC time, level, sentence, and the fields that it has not; a traceback follows.

    What would move a terminal's cursor or look like another line is escaped.
    """
    at, level, message = told.pop("at"), told.pop("level"), shown(told.pop("message"))
    traceback, like_this = told.pop("traceback", None), told.pop("like_this", None)
    spoken = {*told.pop("_spoken"), "logger", "event"}
    if like_this:
        message += f" (… {like_this:,} like this in the last {WINDOW_SECONDS:.0f} s)"
    rest = " ".join(f"{name}={shown(str(told[name]))}" for name in told if name not in spoken)
    line = f"{at} {level.upper():<7} {message}  [{rest}]"
    return line if traceback is None else f"{line}\n{traceback}"


def _iso_of(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, tz=UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
