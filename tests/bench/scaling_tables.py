"""The tables of ``docs/scaling.md``: their columns, and how they are put into the document."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

Rows = Sequence[Mapping[str, Any]]


class Column(NamedTuple):
    """One column: its name in the JSON, its words, the form of its values (of ``format``)."""

    name: str
    words: str
    form: str = ",.0f"

    def told(self, row: Mapping[str, Any]) -> str:
        """A row's value in words; empty where it has none."""
        value = row.get(self.name)
        if value is None or isinstance(value, str):
            return value or ""
        return format(value, self.form)


_SPEED: Final = (
    Column("records_per_second", "records a second"),
    Column("cpu_us_a_record", "CPU µs a record", ".2f"),
    Column("redis_cpu_us_a_record", "of Redis", ".2f"),
)
_MEMORY: Final = (Column("rss_mb", "resident MB"), Column("peak_rss_mb", "at most MB"))
TABLES: Final[Mapping[str, Sequence[Column]]] = {
    "creators": (
        Column("creators", "creators met"),
        *(*_SPEED, *_MEMORY),
        Column("restart_seconds", "restart s", ".1f"),
        Column("redis_bytes_a_creator", "Redis, bytes a creator"),
        Column("meeting_records_per_second", "met for the first time: records a second"),
        Column("meeting_cpu_us_a_record", "CPU µs", ".2f"),
        Column("meeting_rss_mb", "resident MB"),
        Column("meeting_peak_rss_mb", "at most MB"),
    ),
    "partitions": (Column("partitions", "partitions"), *_SPEED, *_MEMORY),
    "chunks": (Column("chunk_records_max", "chunk, records at most"), *_SPEED, *_MEMORY),
    "hottest": (Column("share", "share of the hottest creator", ".2%"), *_SPEED, *_MEMORY),
    "surging": (
        Column("what", "100,000 creators"),
        *(Column("surges_by_rule", "surges by rule"), *_SPEED, *_MEMORY),
    ),
    "workers": (Column("workers", "workers on two cores"), *_SPEED, *_MEMORY),
    "redis": (
        Column("creators", "creators after 24 hours"),
        Column("bytes_a_creator_median", "Redis, bytes: median creator"),
        Column("bytes_a_creator_mean", "mean creator"),
        Column("bytes_added_by_redis", "of which added by Redis"),
        *(*_SPEED, *_MEMORY),
    ),
    "comments": (
        Column("what", "comments among the records, event time"),
        *(*_SPEED, *_MEMORY),
        Column("creators_met", "creators met"),
        Column("posts_met", "posts met"),
        Column("redis_bytes_a_creator", "Redis, bytes a creator with posts and languages"),
    ),
    "repeats": (
        Column("what", "a million records within"),
        *(Column("ids_held", "event ids held"), *_SPEED, _MEMORY[0]),
        Column("times_slower", "times slower", ".2f"),
        Column("times_the_cpu", "times the CPU", ".2f"),
        Column("bytes_an_id", "bytes an id"),
    ),
    "scrapes": (
        Column("every", "a million creators, scraped"),
        *(*_SPEED, *_MEMORY),
        Column("scrapes", "scrapes"),
        Column("scrape_ms_median", "one takes ms: median", ".1f"),
        Column("scrape_ms_p99", "p99", ".1f"),
        Column("scrape_ms_most", "most", ".1f"),
        Column("scrape_bytes", "bytes of one"),
    ),
    "platform": (
        Column("what", "what"),
        Column("figure", "figure"),
        Column("arithmetic", "how it comes about"),
    ),
    "floor": (
        Column("what", "measure"),
        Column("unit", "unit"),
        Column("bound", "bound"),
        Column("floor", "floor", "g"),
        Column("aim", "aim", "g"),
        Column("reached", "reached", ".4g"),
        Column("told", "holds"),
    ),
}
_LEFT: Final = ("what", "every", "arithmetic")


def table_of(name: str, rows: Rows) -> str:
    """A part's rows as the table that the document has, in Markdown."""
    columns = TABLES[name]
    lines = [[column.words for column in columns]]
    lines.append(["---" if column.name in _LEFT else "--:" for column in columns])
    lines += [[column.told(row) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(document: str, tables: Mapping[str, str]) -> str:
    """The document with these tables in place of those between their marks.

    Raises LookupError for a table whose marks it has not.
    """
    for name, table in tables.items():
        begin, end = marks_of(name)
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(document):
            message = f"the document has no place for {name}: {begin}"
            raise LookupError(message)
        placed = f"{begin}\n\n{table}\n\n{end}".replace("\\", r"\\")
        document = pattern.sub(placed, document)
    return document


def marks_of(name: str) -> tuple[str, str]:
    """Comments before and after a table.

    >>> marks_of("creators")
    ('<!-- scaling: creators -->', '<!-- scaling: end of creators -->')
    """
    return f"<!-- scaling: {name} -->", f"<!-- scaling: end of {name} -->"
