"""The benchmark judges rightly: answers, floors, and the tallies that its engines keep."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import floor, scaling
from tests.bench.engines import count_only
from tests.bench.engines.creator_tally import CreatorTally, take_packed
from tests.bench.engines.protocol import Order
from tests.bench.engines.tally_dict import BUCKET_MS, DictTally
from tests.bench.job import Job, Truth
from tests.bench.peers import PeerMissing, peer_folder
from tests.bench.turns import WrongAnswer, check

TRUTH = Truth(10, 6, {"c-1": 5, "c-2": 7})
RIGHT: dict[str, Any] = {"total": 10, "largest": 6, "crossed": {"c-1": 5, "c-2": 7}}


@pytest.mark.parametrize(
    "crossed", [{"c-1": 5, "c-2": 7}, {"c-1": None, "c-2": None}, None], ids=["when", "who", "not"]
)
def test_a_right_answer_may_leave_out_what_its_engine_cannot_tell(
    crossed: dict[str, int | None] | None,
) -> None:
    check(RIGHT | {"crossed": crossed}, TRUTH)


@pytest.mark.parametrize(
    "wrong",
    [
        {"total": 9},
        {"largest": 7},
        {"crossed": {}},
        {"crossed": {"c-1": 5}},
        {"crossed": {"c-1": 5, "c-2": 8}},
        {"crossed": {"c-1": None}},
        {"crossed": {"c-1": None, "c-2": 8}},
    ],
)
def test_a_wrong_answer_is_seen(wrong: dict[str, Any]) -> None:
    with pytest.raises(WrongAnswer, match=next(iter(wrong))):
        check(RIGHT | wrong, TRUTH)


def test_a_wrong_answer_names_the_creators_that_differ_and_not_all() -> None:
    right = {f"c-{number}": number for number in range(9)}
    found = {"c-8": 9, "c-9": 9} | {f"c-{number}": number for number in range(3)}
    with pytest.raises(WrongAnswer) as told:
        check(RIGHT | {"crossed": found}, Truth(10, 6, right))
    assert str(told.value) == (
        "crossed of 9 lacks c-3, c-4, c-5 and 2 more, has c-9, has another time for c-8"
    )


@given(
    st.lists(st.tuples(st.integers(0, 700 * BUCKET_MS), st.sampled_from("ab")), max_size=60),
)
def test_all_tallies_have_the_same_rolling_total_at_every_record(
    drawn: list[tuple[int, str]],
) -> None:
    whole = DictTally(threshold=0)
    objects = {name: CreatorTally() for name in "ab"}
    packed: dict[str, bytes | None] = {"a": None, "b": None}
    for at_ms, name in sorted(drawn):
        whole.take([json.dumps({"creator_id": name, "at_ms": at_ms, "follower_id": "f"}).encode()])
        packed[name], total = take_packed(packed[name], at_ms // BUCKET_MS)
        assert whole.totals[name] == total == objects[name].take(at_ms)


def test_the_job_names_the_very_record_that_crosses() -> None:
    job = Job(5_000, creators=50, threshold=400)
    counts: dict[str, int] = {}
    crossed: dict[str, int] = {}
    for keys, values in job.batches():
        for key, value in zip(keys, values, strict=True):
            name = key.decode()
            counts[name] = counts.get(name, 0) + 1
            if counts[name] == 400:
                crossed[name] = json.loads(value)["at_ms"]
    assert len(crossed) > 1
    assert job.truth() == Truth(5_000, max(counts.values()), crossed)


def found_by(**more: Any) -> dict[str, Any]:
    """What a benchmark with figures just at every floor found."""
    costs = {"surgewatch": 2.0, "surgewatch-count": 2.0, "aiokafka": 2.0}
    costs |= {"faust-dict": 40.0, "faust-table": 160.0, "kafka-streams": 9.0}
    speeds = {"surgewatch": 300_000, "aiokafka": 200_000, "kafka-streams": 200_000}
    engines = [
        {
            "name": name,
            "wrong": [],
            "records": 1_000_000,
            "cpu_seconds_per_million": cost,
            "events_per_second": speeds.get(name, 10_000),
        }
        for name, cost in costs.items()
    ]
    latency = {
        "p99_ms": 1_000.0,
        "records_per_second": 96_000,
        "records_per_second_asked": 100_000,
    }
    many = {"records": 4_000_000, "cpu_seconds_per_million": 2.2}
    return {"engines": engines, "many": many, "latency": latency} | more


def test_a_floor_that_is_just_reached_holds() -> None:
    rows = floor.speed_rows(found_by())
    assert [row.holds for row in rows] == [True] * len(rows)
    assert all({"what", "floor", "reached", "holds"} <= row.keys() for row in floor.as_dicts(rows))


def test_a_floor_that_is_missed_does_not_hold() -> None:
    found = found_by(many={"records": 4_000_000, "cpu_seconds_per_million": 2.3})
    found["latency"]["p99_ms"] = 1_001.0
    found["engines"][1]["cpu_seconds_per_million"] = 2.01
    for engine, cost in ((3, 39.9), (4, 159.9), (2, 1.99)):
        found["engines"][engine]["cpu_seconds_per_million"] = cost
    found["engines"][0]["events_per_second"] = 299_000
    assert {row.holds for row in floor.speed_rows(found)} == {False}


def test_what_was_not_measured_neither_holds_nor_fails() -> None:
    assert {row.holds for row in floor.speed_rows({"engines": []})} == {None}
    assert {row.holds for row in scaling.floor_rows({})} == {None}


def test_a_scaling_floor_is_judged_only_by_the_points_that_it_names() -> None:
    some: dict[str, list[dict[str, Any]]] = {
        "creators": [{"creators": 100_000, "records_per_second": 9}],
        "hottest": [{"share": share, "records_per_second": 9} for share in (0.0001, 0.001)],
    }
    assert {row.holds for row in scaling.floor_rows(some)} == {None}
    some["hottest"].append({"share": 0.9, "records_per_second": 4})
    assert [row.holds for row in scaling.floor_rows(some) if row.reached is not None] == [False]


def test_delays_at_less_than_the_asked_rate_say_nothing() -> None:
    found = found_by()
    found["latency"]["records_per_second"] = 94_000
    assert floor.speed_rows(found)[-1].holds is None


def test_a_peer_that_was_not_brought_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGEWATCH_CACHE", str(tmp_path))
    with pytest.raises(PeerMissing, match="not brought"):
        peer_folder("pathway")
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "pathway.reason").write_text("no wheel for this machine\n")
    with pytest.raises(PeerMissing, match=r"^no wheel for this machine$"):
        peer_folder("pathway")


def test_a_count_only_engine_that_fails_stops_its_app_so_that_its_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class App:
        crash_reason = None
        stopped = False

        def __init__(self, _: object, counter: count_only.Counter, __: str) -> None:
            self.counter = counter

        async def start(self) -> None:
            await self.counter.take(None)  # no event: it cannot be counted

        async def wait_until_stopped(self) -> None:
            await asyncio.Event().wait()

        async def stop(self) -> None:
            App.stopped = True

    monkeypatch.setattr(count_only, "build_app", App)
    order = Order("name", "127.0.0.1:1", "topic", 1, 1, 1, str(tmp_path), {})
    with pytest.raises(AttributeError):
        asyncio.run(count_only.run(order))
    assert App.stopped
