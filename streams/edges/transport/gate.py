"""The gate that chunks are taken through: open from a seek to the next sign of a rebalance.

Two threads move it: Faust's, which seeks and opens, and the consumer's, which hears first that
partitions are dealt anew. A seek holds only for the dealing that it began after, and only while
nothing has closed the gate since: else the partitions that aiokafka has now, at positions that
nobody chose, would be read as if they had been sought.
"""

from threading import Lock


class Gate:
    """Whether chunks may be taken; each opening is an epoch."""

    def __init__(self) -> None:
        self.epoch = 0
        self._lock = Lock()
        self._open = False
        self._closings = 0
        self._dealings = 0
        self._dealing = False
        self._sought = -1  # which closing the last seek came after
        self._begun = 0  # after which dealing a seek has begun

    def is_open(self) -> bool:
        """Whether chunks may be taken; any thread."""
        return self._open

    @property
    def is_dealing(self) -> bool:
        """Whether partitions are being dealt: from the first sign of it until they are."""
        return self._dealing

    @property
    def is_seek_due(self) -> bool:
        """Whether partitions are being dealt, or were, and no seek has begun since."""
        return self._dealing or self._begun != self._dealings

    def close(self) -> None:
        """Take nothing until the next seek."""
        with self._lock:
            self._open = False
            self._closings += 1

    def begin_dealing(self) -> None:
        """Close until partitions are dealt, and sought."""
        with self._lock:
            self._open = False
            self._closings += 1
            self._dealings += 1
            self._dealing = True

    def end_dealing(self) -> None:
        """Partitions are dealt: a seek follows."""
        with self._lock:
            self._dealing = False

    def begin_seek(self) -> int | None:
        """Close, and begin to seek; what to end it with. None while partitions are dealt."""
        with self._lock:
            if self._dealing:
                return None
            self._open = False
            self._closings += 1
            self._begun = self._dealings
            return self._closings

    def holds(self, seek: int) -> bool:
        """Whether nothing has closed the gate since this seek began."""
        return seek == self._closings

    def end_seek(self, seek: int) -> bool:
        """Let the gate open to what was sought; False: it does not hold, and another follows."""
        with self._lock:
            if seek != self._closings:
                return False
            self._sought = seek
            return True

    def open(self) -> None:
        """Open if a seek has taken place since it was closed; else nothing happens."""
        with self._lock:
            if self._sought == self._closings and not self._open:
                self.epoch += 1
                self._open = True
