"""How much memory the control group of this process allows it."""

from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_NO_LIMIT: Final = 1 << 60
"""Version 1 says 2^63 less a page where there is no limit."""


def memory_limit_bytes(root: Path = _ROOT, own: Path = _OWN) -> int:
    """The smallest limit of our control group and those above it; 0: there is none, or no Linux.

    ``root`` is where control groups are mounted (version 2, or 1 with its folder ``memory``),
    ``own`` the list of those that this process is in.
    """
    limits = []
    for folder, name, place in _groups(own):
        top = root / folder
        here = top / place.lstrip("/")
        for group in (here, *here.parents):
            limits.append(_limit_in(group / name))
            if group == top:
                break
    return min((limit for limit in limits if limit is not None), default=0)


def _groups(own: Path) -> list[tuple[str, str, str]]:
    """Folder, name of the limit's file and path of each group that limits memory."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if number == "0":
            found.append(("", "memory.max", place))
        elif "memory" in controllers.split(","):
            found.append(("memory", "memory.limit_in_bytes", place))
    return found


def _limit_in(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None
