"""What our own code says: an event's name, its fields, and the sentence made of them for people.

``logger_of`` touches no global state: a line goes to the standard library's logger of that name,
so what is not set up (``edges/logs/output.py``) ends where any library's lines end.
"""

import logging
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from string import Formatter
from typing import Any, Final

import structlog
from structlog.contextvars import bound_contextvars

EVENT: Final = "surgewatch_event"
"""Attribute of a record: the event's name; records of libraries have none."""
FIELDS: Final = "surgewatch_fields"
SPOKEN: Final = "surgewatch_spoken"
"""Names of the fields that the sentence already has."""


class Log(structlog.BoundLoggerBase):
    """A logger that takes an event's name, a sentence with ``{field}`` in it, and the fields.

    Of a line that nobody wants only its level is looked at.
    """

    def debug(self, event: str, sentence: str, **fields: object) -> None:
        """Tell what is of use while looking for a fault only."""
        self._tell(logging.DEBUG, event, sentence, fields)

    def info(self, event: str, sentence: str, **fields: object) -> None:
        """Tell what happens in the ordinary course."""
        self._tell(logging.INFO, event, sentence, fields)

    def warning(self, event: str, sentence: str, **fields: object) -> None:
        """Tell what someone should know, though the work goes on."""
        self._tell(logging.WARNING, event, sentence, fields)

    def error(self, event: str, sentence: str, **fields: object) -> None:
        """Tell what someone has to act on."""
        self._tell(logging.ERROR, event, sentence, fields)

    def is_told(self, level: int) -> bool:
        """Whether a line of this level goes anywhere: to be asked before costly fields."""
        return bool(self._logger.isEnabledFor(level))

    def _tell(self, level: int, event: str, sentence: str, fields: Mapping[str, object]) -> None:
        if self.is_told(level):
            method = logging.getLevelName(level).lower()
            self._proxy_to_logger(method, event, sentence=sentence, **fields)


def logger_of(name: str) -> Log:
    """The logger of a module."""
    made: Log = structlog.wrap_logger(
        logging.getLogger(name), processors=[_record_of], wrapper_class=Log, context_class=dict
    ).bind()
    return made


def placed(topic: str, partition: int, offset: int | None = None) -> AbstractContextManager[Any]:
    """Lines said within, whoever says them, are of this partition, from this offset on."""
    where = {"topic": topic, "partition": partition}
    return bound_contextvars(**where if offset is None else {**where, "offset": offset})


def names_in(sentence: str) -> list[str]:
    """Names of the fields in a sentence.

    >>> names_in("{records:,} records of {topic} wait")
    ['records', 'topic']
    """
    return [name for _, name, _, _ in Formatter().parse(sentence) if name]


def _record_of(
    _logger: object, _method: str, told: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """Arguments for the standard library's logger: the sentence, and the rest beside it."""
    event, sentence = told.pop("event"), told.pop("sentence")
    extra = {EVENT: event, FIELDS: dict(told), SPOKEN: frozenset(names_in(sentence))}
    return (sentence.format(**told),), {"extra": extra}
