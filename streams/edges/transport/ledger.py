"""What was handed to agents and what of it is done: first-in first-out for each partition.

The committable offset of a partition never passes a chunk that is not acked, whatever order
the acks come in, and nothing is forgotten before its commit has succeeded.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from faust.types import TP


class Receipt:
    """One chunk that was handed over; it holds no records, so that they can be freed."""

    __slots__ = ("acked", "next_offset")

    def __init__(self, next_offset: int) -> None:
        self.next_offset = next_offset
        self.acked = False


class Ledger:
    """Receipts of all assigned partitions, oldest first."""

    def __init__(self) -> None:
        self._receipts: dict[TP, deque[Receipt]] = {}
        self._committed: dict[TP, int] = {}

    def reset(self, partitions: Iterable[TP]) -> None:
        """Begin anew with these partitions: nothing handed over, nothing committed."""
        self._receipts = {tp: deque() for tp in partitions}
        self._committed = {}

    def forget(self, partitions: Iterable[TP]) -> None:
        """Drop partitions that were given up."""
        for tp in partitions:
            self._receipts.pop(tp, None)
            self._committed.pop(tp, None)

    def hand_over(self, tp: TP, next_offset: int) -> Receipt:
        """Note that a chunk goes to the agents; ``next_offset`` is the one after its last."""
        receipt = Receipt(next_offset)
        self._receipts.setdefault(tp, deque()).append(receipt)
        return receipt

    def ack_to(self, tp: TP, offset: int) -> None:
        """Ack every chunk of a partition that ends at or before ``offset``."""
        for receipt in self._receipts.get(tp, ()):
            if receipt.next_offset > offset:
                break
            receipt.acked = True

    def committable(self) -> dict[TP, int]:
        """Offset to commit for each partition that has moved since its last commit."""
        offsets = {}
        for tp, receipts in self._receipts.items():
            reached = None
            for receipt in receipts:
                if not receipt.acked:
                    break
                reached = receipt.next_offset
            if reached is not None and reached > self._committed.get(tp, -1):
                offsets[tp] = reached
        return offsets

    def book(self, offsets: Mapping[TP, int]) -> None:
        """Note commits that succeeded."""
        for tp, offset in offsets.items():
            receipts = self._receipts.get(tp)
            if receipts is None:
                continue
            self._committed[tp] = offset
            while receipts and receipts[0].acked and receipts[0].next_offset <= offset:
                receipts.popleft()

    def unacked(self) -> dict[TP, int]:
        """How many chunks of each partition were handed over and are not acked."""
        counts = {
            tp: sum(not receipt.acked for receipt in receipts)
            for tp, receipts in self._receipts.items()
        }
        return {tp: count for tp, count in counts.items() if count}
