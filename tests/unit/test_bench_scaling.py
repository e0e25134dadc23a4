"""The scaling run's tables, pictures and arithmetic say what was measured."""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from streams.app.jobs import limits_of
from streams.core.records.chunks import RawChunk
from streams.edges.codec.events import decode_comments
from streams.edges.codec.faults import AT_MS_END
from streams.edges.settings.reading import read_settings
from tests.bench import phases, scaling_picture
from tests.bench.engines import ENGINES
from tests.bench.sampled_worker import OTHER, step_of
from tests.bench.scaling_comments import LANGS, OWN_LANG_SHARE, POST_SHARES, Comments
from tests.bench.scaling_parts import PARTS
from tests.bench.scaling_platform import platform_rows
from tests.bench.scaling_tables import TABLES, filled, marks_of, table_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_benchmark_has_the_nine_engines_that_its_file_is_known_for() -> None:
    assert tuple(engine.name for engine in ENGINES) == (
        *("surgewatch", "surgewatch-count", "aiokafka", "faust-dict", "faust-table"),
        *("bytewax", "quixstreams", "pathway", "kafka-streams"),
    )


def test_each_part_has_a_table_with_speed_and_memory_and_a_picture_of_both() -> None:
    assert PARTS.keys() == TABLES.keys() - {"platform", "floor"}
    assert scaling_picture._SKETCHES.keys() == PARTS.keys()
    for name, sketch in scaling_picture._SKETCHES.items():
        columns = {column.name for column in TABLES[name]}
        assert {"records_per_second", "rss_mb"} <= columns
        assert {"records_per_second", "rss_mb"} <= set(sketch.curves)
        assert {sketch.along, *sketch.curves} <= columns


@pytest.mark.parametrize("name", TABLES)
def test_the_document_has_each_table_as_it_is_printed(name: str) -> None:
    begin, end = marks_of(name)
    [held] = re.findall(f"{begin}\n\n(.*?)\n\n{end}", DOCUMENT.read_text(), re.DOTALL)
    assert held.splitlines()[:2] == table_of(name, []).splitlines()


def test_a_table_is_put_in_the_place_of_the_one_before_and_nothing_else_changes() -> None:
    begin, end = marks_of("redis")
    document = f"before\n{begin}\n\n| old |\n\n{end}\nafter\n"
    again = filled(document, {"redis": r"| new \1 |"})
    assert again == f"before\n{begin}\n\n| new \\1 |\n\n{end}\nafter\n"
    assert filled(again, {"redis": "| old |"}) == document
    with pytest.raises(LookupError, match="scaling: moon"):
        filled(document, {"moon": "| new |"})


def test_a_value_that_was_not_measured_is_empty_and_zero_is_not() -> None:
    told = table_of("repeats", [{"what": "off", "ids_held": 0, "bytes_an_id": None}])
    assert told.splitlines()[2] == "| off | 0 |  |  |  |  |  |  |  |"


def parts_found() -> dict[str, list[dict[str, Any]]]:
    """Parts with round figures."""
    row = {"records_per_second": 400_000, "redis_cpu_us_a_record": 0.5}
    ten = {"records_per_second": 200_000, "redis_cpu_us_a_record": 2.0, "peak_rss_mb": 3_000.0}
    return {
        "creators": [
            {"creators": 10_000, **row, "rss_mb": 200.0},
            {"creators": 1_000_000, **row},
            {"creators": 10_000_000, **ten, "meeting_peak_rss_mb": 4_000.0},
        ],
        "partitions": [{"partitions": 1, **row}],
        "redis": [{"bytes_a_creator_mean": 100.0}],
        "comments": [
            {
                "comments_share": 0.3,
                "hours": 1,
                "records_per_second": 300_000,
                "redis_cpu_us_a_record": 1.0,
            },
            {"comments_share": 0.3, "hours": 24, **row},
            {
                "hours": 24,
                "comments_share": 1.0,
                "rss_mb": 700.0,
                "creators_met": 500_000,
                "redis_bytes_a_creator": 1_000.0,
            },
        ],
        "repeats": [{"bytes_an_id": 80}],
    }


def test_a_platform_s_numbers_follow_from_the_measured_ones() -> None:
    told = {row["what"]: row["figure"] for row in platform_rows(parts_found())}
    assert told["events a second at the peak"] == "231,481"
    assert told["workers, by speed"] == "4"  # 231,481 / (300,000 × 200/400 × half)
    assert told["creators' state, all workers"] == "44.0 GB"  # 60 million × 400 + 20 × 1000
    assert told["event ids, all workers"] == "22.2 GB"  # 2 × 231,481 × 600 × 80
    # 66.2 GB: nine would do, but of sixteen partitions some would have two, 8.3 GB
    assert told["workers, by memory, 8 GB each"] == "16"
    assert told["one of 16 partitions at the peak"] == "14,468 a second"
    ids_max = told["`repeats_ids_max` for a whole horizon at the peak"]
    assert ids_max == "17,361,600"  # 2 × 14,468 × 600
    assert told["Redis, bytes"].startswith("26.0 GB")  # 60 million × 100 + 20 million × 1000
    assert told["Redis nodes, by speed"] == "2"  # 231,481 × 4 µs = 0.93 cores, half of each


@pytest.mark.parametrize("part", ["creators", "partitions", "redis", "comments", "repeats"])
def test_a_platform_s_numbers_are_not_told_without_all_that_they_follow_from(part: str) -> None:
    assert platform_rows(parts_found() | {part: []}) == []


def test_comments_of_the_scaling_run_are_read_as_they_were_drawn() -> None:
    comments = Comments.drawn(np.random.default_rng(1), 200, 5_000)
    [(keys, values)] = comments.batches()
    raw = RawChunk("comments", 0, values, range(len(values)), len(values), -1, len(values))
    decoded = decode_comments(raw, AT_MS_END, limits_of(read_settings({})))
    assert not decoded.dead
    chunk = decoded.chunk
    assert list(chunk.creator_ids) == [key.decode() for key in keys]
    assert list(chunk.post_ids) == [f"p-{post:07d}" for post in comments.posts.tolist()]
    assert list(chunk.langs) == [LANGS[lang].decode() for lang in comments.langs.tolist()]
    assert chunk.at_ms.tolist() == comments.at_ms.tolist()
    assert set((comments.posts // len(POST_SHARES)).tolist()) == set(comments.ids.tolist())
    own = np.mean(comments.langs == comments.ids % len(LANGS))
    assert own == pytest.approx(OWN_LANG_SHARE + (1 - OWN_LANG_SHARE) / len(LANGS), abs=0.03)


def frame_in(*paths: str, name: str = "step") -> FrameType:
    """A frame whose code, and that of its callers, is said to be in these files; innermost last."""
    found: list[FrameType] = []

    def ask() -> None:
        found.append(sys._getframe())

    call = ask
    for path in reversed(paths):
        space: dict[str, Any] = {"call": call}
        exec(compile(f"def {name}(): call()", path, "exec"), space)
        call = space[name]
    call()
    return found[0]


def test_cpu_is_booked_on_the_innermost_step_that_is_known() -> None:
    ours, redis = "/x/streams/app/worker/pipeline.py", "/x/site-packages/redis/asyncio/client.py"
    assert step_of(frame_in("/x/faust/streams.py", ours)) == "transport and pipeline"
    assert step_of(frame_in(ours, "/x/streams/core/partition.py", "/x/numpy/f.py")).startswith(
        "count"
    )
    assert step_of(frame_in(ours, redis, "/usr/lib/python3/asyncio/streams.py")) == (
        "the event loop, its sockets"
    )
    assert step_of(frame_in("/x/streams/core/partition.py", name="drain")) == "pack for the store"
    assert step_of(frame_in("/elsewhere.py")) == OTHER


def test_the_steps_alone_are_measured_in_chunks_that_a_worker_takes() -> None:
    settings = read_settings({})
    small, large = phases.chunk_batches(settings, 1_000), phases.chunk_batches(settings, 2**20)
    assert small * phases.BATCH_RECORDS == settings.chunk_records_max
    assert large == 4, "a partition's share of a fetch is four megabytes"
    assert phases.chunk_batches(settings, 2**30) == 1
