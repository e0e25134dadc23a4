"""Several processes that count one file, each its share of the partitions.

Every one of them reads all of the file: reading and decoding is a small part of the work. What
they say of a chunk is taken together, so none is ever more than a pipe's room ahead of another.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final

from streams.app.backtest.counting import ChunkTold, FileEnd, FileTask, Share, counted
from streams.edges.errors import SurgewatchError
from streams.edges.files.records import FileBroken, RecordFile

_END_SECONDS_MAX: Final = 10.0


class ProcessEnded(SurgewatchError):
    """A process that counted a part of the file ended before it was done."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(
            f"a process of the back-test ended before it was done (exit code {exit_code}): was it"
            " killed for want of memory? --processes 1 needs least"
        )


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def counted_apart(
    path: Path, task: FileTask, processes: int
) -> Iterator[list[ChunkTold | FileEnd]]:
    """Count a file in so many processes: what all shares say of each chunk, then of the end.

    Raises FileBroken and ProcessEnded.
    """
    context = multiprocessing.get_context("spawn")  # forked from a thread, one could stand still
    with ExitStack() as stack:
        pipes: list[tuple[Connection, SpawnProcess]] = []
        for number in range(processes):
            mine, other = context.Pipe(duplex=False)
            share = Share(number, processes)
            process = context.Process(target=_count, args=(other, path, task, share), daemon=True)
            process.start()
            stack.callback(_end, process)
            stack.callback(mine.close)
            other.close()
            pipes.append((mine, process))
        while True:
            told = [_heard(*pipe) for pipe in pipes]
            yield told
            if not isinstance(told[0], ChunkTold):
                return


def _heard(pipe: Connection, process: SpawnProcess) -> Any:
    try:
        heard = pipe.recv()
    except EOFError as error:
        process.join(_END_SECONDS_MAX)
        raise ProcessEnded(process.exitcode) from error
    if isinstance(heard, _Broken):
        raise FileBroken(heard.path, heard.cause)
    return heard


def _end(process: SpawnProcess) -> None:
    process.terminate()
    process.join(_END_SECONDS_MAX)


class _Broken:
    """A file that cannot be read on: the error itself does not pass a pipe."""

    def __init__(self, error: FileBroken) -> None:
        self.path, self.cause = error.path, error.cause


def _count(pipe: Connection, path: Path, task: FileTask, share: Share) -> None:
    """Work of one process: say what comes of each chunk, until nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that waits for us
    try:
        with RecordFile(path, task.topic) as file:
            for told in counted(file, task, share):
                pipe.send(told)
    except FileBroken as error:
        pipe.send(_Broken(error))
    except BrokenPipeError:
        return
