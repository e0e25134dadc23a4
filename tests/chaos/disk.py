"""A disk for one server that can be full: a tmpfs of its own, where we may mount one."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

_ROOM_BYTES = 1 << 30
_LEFT_BYTES = 16_384
_TRIES = 12


class SmallDisk:
    """A tmpfs at `folder`. When full, writes to old and new files alike fail with ENOSPC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def mounted(cls, folder: Path) -> "SmallDisk | None":
        """Mount one; None where that is not allowed, as for all but root."""
        folder.mkdir(parents=True)
        if os.geteuid():
            return None
        disk = cls(folder)
        with suppress(OSError, subprocess.SubprocessError):
            disk._mount(f"size={_ROOM_BYTES}")
            return disk
        return None

    def fill(self) -> None:
        """Shrink it to what it holds and a little more, while it is written to."""
        for shift in range(_TRIES):
            state = os.statvfs(self.folder)
            used = (state.f_blocks - state.f_bfree) * state.f_frsize
            with suppress(subprocess.CalledProcessError):  # more was written meanwhile
                return self._mount(f"remount,size={used + (_LEFT_BYTES << shift)}")
        msg = f"{self.folder} holds too much to be full"
        raise OSError(msg)

    def empty(self) -> None:
        """Give it room again."""
        self._mount(f"remount,size={_ROOM_BYTES}")

    def drop(self) -> None:
        """Take it away with what it held, as no one need read it; nothing may use it any more."""
        subprocess.run(["umount", str(self.folder)], check=True, capture_output=True, timeout=30)

    def unmount(self) -> None:
        """Take it away; what it held is left in the folder, to be read after a failure."""
        kept = self.folder.with_name(f"{self.folder.name}.kept")
        shutil.copytree(self.folder, kept)
        self.drop()
        self.folder.rmdir()
        kept.rename(self.folder)

    def _mount(self, options: str) -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)],
            check=True,
            capture_output=True,
            timeout=30,
        )
