"""Bytewax: Kafka source, one decoding step, a state for each creator. Stores nothing.

Best honest settings: large batches, one ``flat_map_batch`` that decodes with msgspec, and
``stateful_batch``, the operator under ``stateful_map``, so that a creator's records of one batch
cost one call; one worker; no recovery store.
"""

import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.run import cli_main

from tests.bench.engines.creator_tally import CreatorTally
from tests.bench.engines.protocol import Order, Stamp, answer, order_of, stamp
from tests.bench.engines.tally_dict import decode

BATCH_RECORDS = 10_000
EPOCH = timedelta(seconds=10)


class Board:
    """What the answers are made from."""

    def __init__(self, order: Order) -> None:
        self.left = order.records
        self.threshold = order.threshold
        self.tallies: list[CreatorTally] = []
        self.crossed: dict[str, int] = {}
        self.stamps: list[Stamp] = []


def flow_of(order: Order, board: Board) -> Dataflow:
    """The dataflow; it ends at the topic's end."""

    class CreatorCounts(StatefulBatchLogic):  # type: ignore[misc]  # bytewax is not ours to type
        """State of one creator."""

        def __init__(self) -> None:
            self._tally = CreatorTally()
            board.tallies.append(self._tally)

        def on_batch(self, values: list[Any]) -> tuple[Iterable[Any], bool]:
            """Count a creator's records of one batch."""
            take, threshold = self._tally.take, board.threshold
            for follow in values:
                if take(follow.at_ms) == threshold:
                    board.crossed[follow.creator_id] = follow.at_ms
            board.left -= len(values)
            if not board.left:
                board.stamps.append(stamp())
            return (), False

        def snapshot(self) -> Any:
            """The counts; asked for only with a recovery store."""
            return self._tally

    def decode_batch(messages: list[Any]) -> Iterable[tuple[str, Any]]:
        if not board.stamps:
            board.stamps.append(stamp())
        follows = [decode(message.value) for message in messages]
        return [(follow.creator_id, follow) for follow in follows]

    flow = Dataflow("follows")
    quick = {"fetch.queue.backoff.ms": "5", "fetch.wait.max.ms": "50"}
    source = KafkaSource(
        [order.bootstrap], [order.topic], tail=False, add_config=quick, batch_size=BATCH_RECORDS
    )
    decoded = op.flat_map_batch("decode", op.input("read", flow, source), decode_batch)
    counted = op.stateful_batch("count", decoded, lambda _: CreatorCounts())
    op.inspect("end", counted, lambda *_: None)
    return flow


def run(order: Order) -> None:
    """Read the topic once."""
    board = Board(order)
    cli_main(flow_of(order, board), epoch_interval=EPOCH)
    first, last = board.stamps
    answer(
        total=sum(sum(tally.counts.values()) for tally in board.tallies),
        largest=max(tally.total for tally in board.tallies),
        crossed=board.crossed,
        first=first,
        last=last,
    )


if __name__ == "__main__":
    run(order_of(sys.argv))
