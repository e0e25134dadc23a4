"""A Redis for chaos: where it does not start on its file, it is mended as its log says."""

import subprocess
from pathlib import Path

from streams.edges.process.child import ChildFailed
from tests.chaos.disk import SmallDisk
from tests.servers import RedisServer, program_of

_FIX_SECONDS_MAX = 60


class MendedRedis(RedisServer):
    """Counts how often it did not start by itself: ``repairs``. Its data is on a disk of its own.

    Redis 7.0 does not start on a file with zeros where a full disk ended a write, nor, the first
    time, on one cut inside a transaction while it is written anew. An operator then does this.
    """

    repairs = 0

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.disk = SmallDisk.mounted(self.data)
        super().__init__(folder, settings={"dir": str(self.data)})

    @property
    def files(self) -> Path:
        """Where its append-only files are."""
        return self.data / "appendonlydir"

    def stop(self) -> None:
        """End it, and its disk with it."""
        super().stop()
        if self.disk is not None:
            self.disk.unmount()
            self.disk = None

    def start(self) -> None:
        """Start; if the file is refused, shorten it with redis-check-aof and start again."""
        try:
            super().start()
        except ChildFailed as failed:
            refused = ("redis-check-aof --fix", "the truncated file is not the last file")
            if not any(words in failed.log_tail for words in refused):
                raise
            self.repairs += 1
            subprocess.run(
                [
                    program_of("redis-check-aof"),
                    "--fix",
                    str(self.files / "appendonly.aof.manifest"),
                ],
                input="y\n",
                text=True,
                capture_output=True,
                timeout=_FIX_SECONDS_MAX,
                check=False,
            )
            super().start()
