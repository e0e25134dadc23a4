"""Engines of the benchmark, one file each: a script that is run as a process of its own.

A script gets an ``Order`` as JSON in its first argument, does the job of ``tests/bench/job.py``,
and prints one line of JSON: an ``Answer`` (``protocol.py``). To add an engine, write its script
and give it a line here.
"""

from typing import Final, NamedTuple


class Engine(NamedTuple):
    """An engine: its name, its script, and the most records it is given (slow ones: fewer).

    ``peer`` names the environment of its own that its script runs in (``tests/bench/peers``).
    """

    name: str
    module: str
    records_max: int | None = None
    peer: str | None = None


_SLOW_RECORDS: Final = 100_000

OURS: Final = frozenset({"surgewatch", "surgewatch-count"})
"""A wrong answer of these ends the benchmark; the others' are told."""

ENGINES: Final = (
    Engine("surgewatch", "whole_worker"),
    Engine("surgewatch-count", "count_only"),
    Engine("aiokafka", "aiokafka_loop"),
    Engine("faust-dict", "faust_dict", _SLOW_RECORDS),
    Engine("faust-table", "faust_table", _SLOW_RECORDS),
    Engine("bytewax", "bytewax_batch", peer="bytewax"),
    Engine("quixstreams", "quix_stateful", peer="quixstreams"),
    Engine("pathway", "pathway_table", peer="pathway"),
    Engine("kafka-streams", "kafka_streams"),
)
"""In the order of their turns."""
