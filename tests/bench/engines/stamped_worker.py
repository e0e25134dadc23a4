"""``surgewatch worker`` that notes when its first records were in hand: arguments FILE [CHUNKS].

One method is wrapped until it was called once, so nothing is slower after it. With CHUNKS, a
second file, the seconds of each chunk's decoding and counting are written there at the end.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from streams.app.cli import main
from streams.app.worker.lane import Lane
from streams.app.worker.pipeline import Pipeline
from streams.core.records.chunks import RawChunk
from tests.bench.engines.protocol import stamp


def stamp_first(path: Path) -> None:
    """Write the stamp of the first chunk to a file."""
    take = Pipeline.take

    async def first_take(self: Pipeline, event: Any) -> None:
        Pipeline.take = take  # type: ignore[method-assign]  # put back
        path.write_text(json.dumps(stamp()))
        await take(self, event)

    Pipeline.take = first_take  # type: ignore[method-assign]


def time_chunks(seconds: list[float]) -> None:
    """Note how long each chunk takes."""
    take = Pipeline._take

    async def timed_take(self: Pipeline, lane: Lane, chunk: RawChunk) -> None:
        began = time.perf_counter()
        await take(self, lane, chunk)
        seconds.append(time.perf_counter() - began)

    Pipeline._take = timed_take  # type: ignore[method-assign]


if __name__ == "__main__":
    first_file, *chunks_file = map(Path, sys.argv[1:])
    stamp_first(first_file)
    chunk_seconds: list[float] = []
    if chunks_file:
        time_chunks(chunk_seconds)
    try:
        main(["worker"])
    finally:
        if chunks_file:
            chunks_file[0].write_text(json.dumps(chunk_seconds))
