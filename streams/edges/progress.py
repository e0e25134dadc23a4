"""What the pipeline tells of itself while it works: to metrics, health and the live view."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from streams.core.events import DeadRecord, RawChunk
from streams.core.partition import Outcome
from streams.core.surges import Surge


class Progress(Protocol):
    """Hears of each chunk and write; every call is cheap and never raises."""

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Time spent within is this stage's."""

    def own(self, places: Sequence[tuple[str, int]]) -> None:
        """These partitions are ours from now on, no others."""

    def took(self, chunk: RawChunk, outcome: Outcome, watermark_ms: int) -> None:
        """A chunk was counted."""

    def told(self, surge: Surge, appended_ms: int) -> None:
        """A surge was found in a chunk that the broker got at ``appended_ms``."""

    def buried(self, topic: str, dead: Sequence[DeadRecord]) -> None:
        """Records went to dead letters."""

    def stored(self, size_bytes: int) -> None:
        """A write was done."""

    def store_failed(self) -> None:
        """The store did not answer; it will be asked again."""


class Silence:
    """Progress that nobody hears."""

    def stage(self, name: str) -> AbstractContextManager[object]:
        """See Progress."""
        return nullcontext()

    def own(self, places: Sequence[tuple[str, int]]) -> None:
        """See Progress."""

    def took(self, chunk: RawChunk, outcome: Outcome, watermark_ms: int) -> None:
        """See Progress."""

    def told(self, surge: Surge, appended_ms: int) -> None:
        """See Progress."""

    def buried(self, topic: str, dead: Sequence[DeadRecord]) -> None:
        """See Progress."""

    def stored(self, size_bytes: int) -> None:
        """See Progress."""

    def store_failed(self) -> None:
        """See Progress."""
