"""Several processes that count one file, each its share of the partitions.

Every one of them reads all of the file: reading and decoding is a small part of the work. What
they say of a chunk is taken together, so none is ever more than a pipe's room ahead of another.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final, NamedTuple

from streams.app.backtest.counting import ChunkTold, FileEnd, FileTask, Share, counted
from streams.edges.errors import SurgewatchError
from streams.edges.files.records import FileBroken, FileMissing, ParquetUnsupported, RecordFile

_END_SECONDS_MAX: Final = 10.0


class ProcessEnded(SurgewatchError):
    """A process that counted a part of the file ended before it was done."""

    def __init__(self, exit_code: int | None) -> None:
        killed = exit_code is not None and exit_code < 0
        why = (
            "was it killed for want of memory? --processes 1 needs least"
            if killed
            else ("what stands above says why; with --processes 1 there is no other process")
        )
        super().__init__(
            f"a process of the back-test ended before it was done (exit code {exit_code}): {why}"
        )


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def counted_apart(
    path: Path, task: FileTask, processes: int
) -> Generator[list[ChunkTold | FileEnd], None, None]:
    """Count a file in so many processes: what all shares say of each chunk, then of the end.

    Raises FileBroken, also if the file changes meanwhile, and ProcessEnded.
    """
    context = multiprocessing.get_context("spawn")  # forked from a thread, one could stand still
    with ExitStack() as stack:
        pipes: list[tuple[Connection, SpawnProcess]] = []
        for number in range(processes):
            mine, other = context.Pipe(duplex=False)
            share = Share(number, processes)
            process = context.Process(target=_count, args=(other, path, task, share), daemon=True)
            with _without_interrupts():
                process.start()
            stack.callback(_end, process)
            stack.callback(mine.close)
            other.close()
            pipes.append((mine, process))
        while True:
            told = [_heard(*pipe) for pipe in pipes]
            if len({_records_of(one) for one in told}) > 1:
                raise FileBroken(path, "changed while it was read")
            yield told
            if not isinstance(told[0], ChunkTold):
                return


def _heard(pipe: Connection, process: SpawnProcess) -> Any:
    try:
        heard = pipe.recv()
    except EOFError as error:
        process.join(_END_SECONDS_MAX)
        raise ProcessEnded(process.exitcode) from error
    if isinstance(heard, _Failed):
        raise heard.error()
    return heard


def _records_of(told: ChunkTold | FileEnd) -> int | None:
    """Of a chunk; None: the file's end."""
    return told.records if isinstance(told, ChunkTold) else None


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Have a process started now hear of Ctrl-C only when it wants to."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(process: SpawnProcess) -> None:
    process.terminate()
    process.join(_END_SECONDS_MAX)


class _Failed(NamedTuple):
    """What a user can act on: the error itself does not pass a pipe."""

    make: Callable[..., SurgewatchError]
    arguments: tuple[Any, ...]

    def error(self) -> SurgewatchError:
        return self.make(*self.arguments)


def _count(pipe: Connection, path: Path, task: FileTask, share: Share) -> None:
    """Work of one process: say what comes of each chunk, until nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that waits for us
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        with RecordFile(path, task.topic) as file:
            for told in counted(file, task, share):
                pipe.send(told)
    except FileBroken as error:
        pipe.send(_Failed(FileBroken, (error.path, error.cause)))
    except (FileMissing, ParquetUnsupported) as error:
        pipe.send(_Failed(type(error), (error.path,)))
    except BrokenPipeError:
        return
