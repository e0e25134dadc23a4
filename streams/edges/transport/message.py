"""What passes through Faust for a chunk, and what Faust must not remember about it."""

from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.core.records.chunks import RawChunk
from streams.edges.transport.ledger import Receipt


class ChunkMessage(ConsumerMessage):  # type: ignore[misc]  # faust is untyped here
    """A message whose ``acked`` is its receipt's, so that every way of acking is booked."""

    __slots__ = ("receipt",)

    def __init__(self, tp: TP, chunk: RawChunk, receipt: Receipt, generation: int) -> None:
        self.receipt = receipt
        super().__init__(
            tp.topic,
            tp.partition,
            chunk.next_offset - 1,
            max(chunk.appended_ms, 0) / 1000.0,
            0,
            None,
            None,
            chunk,
            None,
            0,
            0,
            tp,
            generation_id=generation,
        )

    @property
    def acked(self) -> bool:
        """Whether the chunk is done."""
        return self.receipt.acked

    @acked.setter
    def acked(self, acked: bool) -> None:
        # Message.__init__ writes False; a receipt is never taken back
        self.receipt.acked = self.receipt.acked or acked


class NoOffsets(dict[TP, int | None]):
    """Faust's last read offsets, never kept: its drain loop drops what is below them."""

    def __getitem__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        return None
