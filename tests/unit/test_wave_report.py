"""Wave reports: cut to size, sent, read back, refused when they cannot be right."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import jsonschema
import msgspec
import pytest
from faust.types import TP

from streams.app.worker.idleness import IDLE_SECONDS, Idleness
from streams.core.partition_state import StoredState
from streams.core.records.chunks import RawChunk, Reason
from streams.core.surges.surge import WaveReceiver
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import BucketReport, ReportChunk, WaveReport, reports_of
from streams.core.waves.sums import AGES, TOLD
from streams.edges.codec.reports import decode_reports, encode_report, sent_report_of
from streams.edges.codec.schemas import read_schema
from streams.edges.kafka.report_lot import Lot, ReportLot, lot_in_outbox, report_lots_of

VALIDATOR = jsonschema.Draft202012Validator(read_schema("wave_report"))
BUCKET = BucketReport(
    5_789_664,
    [("en", "US"), ("und", "und")],
    [[row, 10 * row] for row in range(TOLD)],
    [WaveReceiver("ann", 40, 2.5)],
    [[row, 10 * row] for row in range(AGES)],
)
REPORT = WaveReport("comments", 3, 5_789_700, buckets=[BUCKET])
IDLE = WaveReport("follows", 0, -1, idle=True)


def chunk_of(values: Sequence[bytes | None]) -> RawChunk:
    return RawChunk("waves", 0, values, range(7, 7 + len(values)), 7 + len(values), -1, 99)


def sent(report: WaveReport) -> bytes:
    return sent_report_of("fleet", encode_report(report))


def with_fields(**fields: Any) -> bytes:
    report = msgspec.to_builtins(REPORT) | fields
    return msgspec.json.encode({"report": report, "fleet": "fleet"})


def with_bucket(**fields: Any) -> bytes:
    return with_fields(buckets=[msgspec.to_builtins(BUCKET) | fields])


def test_reports_are_read_as_they_were_sent_and_fit_their_schema() -> None:
    values = [sent(REPORT), sent_report_of("others", encode_report(REPORT)), sent(IDLE)]
    decoded = decode_reports(chunk_of(values), "fleet", 4)
    assert decoded.chunk.reports == [REPORT, IDLE]
    assert decoded.dead == []
    for value in values:
        VALIDATOR.validate(msgspec.json.decode(value))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.EMPTY),
        (b"", Reason.EMPTY),
        (b"{broken", Reason.NOT_JSON),
        (b'{"more":' + b"[" * 100_000, Reason.NOT_JSON),
        (encode_report(REPORT), Reason.FIELD_INVALID),
        (b"[]", Reason.FIELD_INVALID),
        (b'{"series":"\xff"}', Reason.FIELD_INVALID),
        (with_fields(series="posts"), Reason.FIELD_INVALID),
        (with_fields(partition=4), Reason.FIELD_INVALID),
        (with_fields(partition=-1), Reason.FIELD_INVALID),
        (with_fields(through=-2), Reason.FIELD_INVALID),
        (with_fields(through=2**60), Reason.FIELD_INVALID),
        (with_bucket(bucket=-1), Reason.FIELD_INVALID),
        (with_bucket(sums=[[1, 2]]), Reason.FIELD_INVALID),
        (with_bucket(sums=[[1]] * TOLD), Reason.FIELD_INVALID),
        (with_bucket(sums=[[1, 2**60]] * TOLD), Reason.FIELD_INVALID),
        (with_bucket(sums=[[1, -1]] * TOLD), Reason.FIELD_INVALID),
        (with_bucket(ages=[[1]] * AGES), Reason.FIELD_INVALID),
        (with_bucket(ages=[[1, 2]] * (AGES - 1)), Reason.FIELD_INVALID),
        (with_bucket(cohorts=[["en", "US"]] * 202), Reason.FIELD_INVALID),
    ],
)
def test_what_cannot_be_right_is_dead_and_the_others_are_read(
    value: bytes | None, reason: Reason
) -> None:
    decoded = decode_reports(chunk_of([sent(IDLE), value, sent(REPORT)]), "fleet", 4)
    assert decoded.chunk.reports == [IDLE, REPORT]
    assert [(dead.offset, dead.raw, dead.reason) for dead in decoded.dead] == [
        (8, value or b"", reason)
    ]


def test_reports_and_state_with_ages_and_without_are_added_up() -> None:
    earlier = with_bucket(ages=[])
    (report,) = decode_reports(chunk_of([earlier]), "fleet", 4).chunk.reports
    VALIDATOR.validate(msgspec.json.decode(earlier))
    fleet = FleetWaves(4)
    fleet.take(ReportChunk([report, REPORT.of_partition(0)]))
    stored = {name: raw for name, raw in fleet.drain().surges.items() if raw}
    (name,) = (name for name in stored if name.endswith(f"|{BUCKET.bucket}"))
    held = msgspec.json.decode(stored[name])
    assert [len(column) for column in held["columns"].values()] == [TOLD, TOLD]
    assert sorted(held["ages"].values()) == sorted(map(list, zip(*BUCKET.ages, strict=True)))
    del held["ages"]  # an earlier version wrote it
    again = FleetWaves(4)
    again.restore(StoredState(surges={**stored, name: msgspec.json.encode(held)}))
    again.take(ReportChunk([REPORT.of_partition(1)]))
    added = msgspec.json.decode(again.drain().surges[name] or b"")
    assert sorted(added["ages"].values()) == sorted(map(list, zip(*BUCKET.ages, strict=True)))


def test_reports_of_many_buckets_are_cut_and_say_how_far_each_goes() -> None:
    buckets = [BucketReport(at, BUCKET.cohorts * 50, []) for at in range(45)]
    cut = list(reports_of("follows", 60, buckets))
    assert [one for report in cut for one in report.buckets] == buckets
    assert [report.through for report in cut] == [19, 39, 60]
    assert [report.through for report in reports_of("follows", 60, [])] == [60]


def test_a_report_of_the_longest_names_is_far_from_too_large_for_a_message() -> None:
    receivers = [WaveReceiver("\\" * 256, 10**9, 1 / 3)] * 10
    buckets = [BucketReport(at, BUCKET.cohorts, [[1]] * 9, receivers) for at in range(500)]
    reports = list(reports_of("follows", 500, buckets))
    assert [one for report in reports for one in report.buckets] == buckets
    assert max(len(encode_report(report)) for report in reports) < 300_000


def test_a_lot_of_reports_waits_in_the_outbox() -> None:
    assert report_lots_of([]) == []
    (lot,) = report_lots_of([REPORT, IDLE])
    assert lot.lines == (encode_report(REPORT), encode_report(IDLE))
    assert lot_in_outbox(lot.stored) == lot


class Speaker:
    """An announcer that keeps reports."""

    def __init__(self) -> None:
        self.reports: list[bytes] = []

    async def announce(self, lots: Sequence[Lot]) -> None:
        for lot in lots:
            assert isinstance(lot, ReportLot)
            self.reports += lot.lines

    async def bury(self, dead: object) -> None:
        raise AssertionError(dead)


def lane_at(partition: int, reached: int | None) -> Any:
    waves = SimpleNamespace(idle_report=lambda: WaveReport("follows", 0, 41, idle=True))
    mute = SimpleNamespace(idle_report=lambda: None)
    return SimpleNamespace(
        tp=TP("follows", partition),
        reached=reached,
        waiting=False,
        lost=False,
        rereading=None,
        job=SimpleNamespace(waves=[waves, mute]),
    )


def test_a_partition_without_records_for_long_is_told_once_until_it_has_some_again() -> None:
    async def body() -> None:
        speaker, now = Speaker(), [0.0]
        idleness, tp = Idleness(speaker, lambda: now[0]), TP("follows", 2)
        lane = lane_at(2, 10)

        async def told_after(seconds: float, end: int | None = 10) -> int:
            now[0] += seconds
            ends = {} if end is None else {tp: end}
            idleness.look({tp: lane}, ends, {tp: None})
            await asyncio.sleep(0)
            count = len(speaker.reports)
            speaker.reports.clear()
            return count

        assert await told_after(0) == 0
        assert await told_after(IDLE_SECONDS - 1) == 0
        assert await told_after(1) == 1
        assert await told_after(10 * IDLE_SECONDS) == 0, "once"
        assert await told_after(1, end=11) == 0
        lane.reached = 11
        assert await told_after(IDLE_SECONDS, end=11) == 0, "it has just had one"
        assert await told_after(IDLE_SECONDS - 1, end=None) == 0, "nothing is known of it"
        assert await told_after(IDLE_SECONDS - 1, end=11) == 0
        lane.reached = 12  # records came and were counted between two looks
        assert await told_after(IDLE_SECONDS, end=12) == 0
        lane.waiting = True
        assert await told_after(IDLE_SECONDS, end=12) == 0
        lane.waiting = False
        assert await told_after(0, end=12) == 0
        assert await told_after(IDLE_SECONDS, end=12) == 1

    asyncio.run(body())


def test_a_partition_that_never_had_a_record_is_idle_where_reading_stands_at_its_end() -> None:
    async def body() -> None:
        speaker, now = Speaker(), [0.0]
        idleness, tp = Idleness(speaker, lambda: now[0]), TP("follows", 1)
        for position, wanted in ((None, []), (499, []), (500, [1])):
            for _ in range(2):
                idleness.look({tp: lane_at(1, None)}, {tp: 500}, {tp: position})
            lane = lane_at(1, None)
            idleness.look({tp: lane}, {tp: 500}, {tp: position})
            now[0] += IDLE_SECONDS
            idleness.look({tp: lane}, {tp: 500}, {tp: position})
            await asyncio.sleep(0)
            found = [msgspec.json.decode(one, type=WaveReport) for one in speaker.reports]
            assert [one.partition for one in found] == wanted

    asyncio.run(body())


def test_what_goes_wrong_as_it_is_told_ends_the_worker() -> None:
    class Broken(Speaker):
        async def announce(self, lots: Sequence[Lot]) -> None:
            raise KeyError

    async def body() -> None:
        now = [0.0]
        idleness, tp = Idleness(Broken(), lambda: now[0]), TP("follows", 2)
        lane = lane_at(2, 10)
        for _ in range(2):
            idleness.look({tp: lane}, {tp: 10}, {})
            now[0] += IDLE_SECONDS
        await asyncio.sleep(0)
        with pytest.raises(KeyError):
            idleness.look({tp: lane}, {tp: 10}, {})

    asyncio.run(body())
