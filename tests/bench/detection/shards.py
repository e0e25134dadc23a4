"""Work of a part cut into shards, each with a seed of its own, done by two processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, TypeVar

Task = TypeVar("Task")
Found = TypeVar("Found")

SEED: Final = 1000
"""Seeds of what is reported begin here; nothing was tuned on them."""
_PROCESSES: Final = 2


def done(function: Callable[[Task], Found], tasks: Sequence[Task]) -> list[Found]:
    """What the function, of some module's top level, makes of each task, in their order."""
    if len(tasks) == 1:
        return [function(tasks[0])]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(_PROCESSES, len(tasks)), mp_context=context) as pool:
        return list(pool.map(function, tasks))


def count_of(full: int, size: float, least: int = 1) -> int:
    """How many there are of ``full`` at a size between 0 and 1."""
    return max(round(full * size), least)
