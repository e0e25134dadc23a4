"""How far each lane is, told once a second to whoever watches the worker."""

from collections.abc import Iterable, Mapping

from faust.types import TP

from streams.app.worker.lane import Lane
from streams.core.reports.surging import asked_of, surging_of
from streams.edges.metrics.progress import Progress
from streams.edges.metrics.worker import Place as Stand


def tell_standing(
    progress: Progress,
    topics: Iterable[str],
    lanes: Mapping[TP, Lane],
    end_offsets: Mapping[TP, int],
    positions: Mapping[TP, int | None],
) -> None:
    """Tell progress how far every lane is, and what it holds."""
    places = {}
    keys = dict.fromkeys(topics, 0)
    event_ids, held, left_out = keys.copy(), keys.copy(), keys.copy()
    for tp, lane in lanes.items():
        reached = lane.reached
        if reached is None:
            reached = positions.get(tp) or 0
        lag = max(0, end_offsets.get(tp, reached) - reached)
        counted_ms, read_ms = _known(lane.job.watermark_ms), _known(lane.job.read_ms)
        places[tp.topic, tp.partition] = Stand(lag, counted_ms, read_ms)
        keys[tp.topic] += lane.job.creators_known
        left_out[tp.topic] += sum(len(table.directory) for table in lane.job.tables)
        if lane.job.repeats is not None:
            event_ids[tp.topic] += len(lane.job.repeats)
            progress.forgot(tp.topic, lane.job.repeats.forgotten)
            lane.job.repeats.forgotten = 0
        progress.forgot_surges(lane.job.take_forgotten())
        hold = lane.job.hold
        if hold is not None:
            held[tp.topic] += len(hold)
            progress.held(tp.topic, held[tp.topic], hold.late, hold.early)
            hold.late = hold.early = 0
        progress.asked(asked_of(lane.job, lane.take_counted_days()))
    progress.stands(places, keys, event_ids, left_out)
    outbox = sum(len(lane.resend) for lane in lanes.values())
    progress.surging(surging_of(lane.job for lane in lanes.values()), outbox)


def _known(mark_ms: int) -> int | None:
    return None if mark_ms < 0 else mark_ms
