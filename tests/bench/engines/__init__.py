"""Engines of the benchmark, one file each: a script that is run as a process of its own.

A script gets an ``Order`` as JSON in its first argument, does the job of ``tests/bench/job.py``,
and prints one line of JSON: an ``Answer`` (``protocol.py``). To add an engine, write its script
and give it a line here.
"""

from typing import Final, NamedTuple


class Engine(NamedTuple):
    """An engine: its name, its script, and the most records it is given (slow ones: fewer)."""

    name: str
    module: str
    records_max: int | None = None


_SLOW_RECORDS: Final = 100_000

ENGINES: Final = (
    Engine("surgewatch", "whole_worker"),
    Engine("surgewatch-count", "count_only"),
    Engine("aiokafka", "aiokafka_loop"),
    Engine("faust-dict", "faust_dict", _SLOW_RECORDS),
    Engine("faust-table", "faust_table", _SLOW_RECORDS),
)
"""In the order of their turns. To come: bytewax, quixstreams, pathway, kafka-streams."""
