"""Quix Streams: one stateful step, a creator's counts as bytes in its RocksDB state.

Best honest settings: values stay bytes and msgspec decodes them, one value of state a creator
read and written once a record, no changelog topics, commits as by default.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quixstreams import Application
from rocksdict import AccessType, Options, Rdict

from tests.bench.engines.creator_tally import take_packed, total_of
from tests.bench.engines.protocol import Order, Stamp, answer, order_of, stamp
from tests.bench.engines.tally_dict import BUCKET_MS, decode

_COUNTS = "counts"


def stored_states(folder: Path) -> Iterator[bytes]:
    """States of all creators as RocksDB holds them, once the application has ended."""
    for mark in folder.glob("**/CURRENT"):
        place = str(mark.parent)
        families = {name: Options(raw_mode=True) for name in Rdict.list_cf(place)}
        held = Rdict(place, Options(raw_mode=True), families, access_type=AccessType.read_only())
        yield from (
            value for key, value in held.items() if key.endswith(b'|"' + _COUNTS.encode() + b'"')
        )
        held.close()


def run(order: Order) -> None:
    """Read the topic once."""
    app = Application(
        order.bootstrap,
        consumer_group=order.name,
        auto_offset_reset="earliest",
        state_dir=order.folder,
        use_changelog_topics=False,
        auto_create_topics=False,
        consumer_extra_config={"fetch.queue.backoff.ms": 5, "fetch.wait.max.ms": 50},
        loglevel="WARNING",
    )
    topic = app.topic(order.topic, key_deserializer="bytes", value_deserializer="bytes")
    crossed: dict[str, int] = {}
    stamps: list[Stamp] = []
    left = order.records

    def count(value: bytes, state: Any) -> None:
        nonlocal left
        if not stamps:
            stamps.append(stamp())
        follow = decode(value)
        fresh, total = take_packed(state.get_bytes(_COUNTS), follow.at_ms // BUCKET_MS)
        state.set_bytes(_COUNTS, fresh)
        if total == order.threshold:
            crossed[follow.creator_id] = follow.at_ms
        left -= 1
        if not left:
            stamps.append(stamp())

    app.dataframe(topic).apply(count, stateful=True)
    app.run(count=order.records)
    first, last = stamps
    totals = [total_of(state) for state in stored_states(Path(order.folder))]
    answer(total=sum(totals), largest=max(totals), crossed=crossed, first=first, last=last)


if __name__ == "__main__":
    run(order_of(sys.argv))
