"""Which clock is believed when the wall clock jumps."""

from hypothesis import given
from hypothesis import strategies as st

from streams.core.time.clock import ClockPolicy, ClockState, Readings, Verdict
from streams.edges.process.clock import Clocks, SteadyClock

T_MS = 1_736_899_200_000
HOUR_MS = 3_600_000
POLICY = ClockPolicy()
BEGUN = POLICY.begin(Readings(T_MS, 500))


def decide(
    state: ClockState, after_ms: int, wrong_ms: int, appended_ms: int | None = None
) -> Verdict:
    """Verdict ``after_ms`` past the start with a wall clock that is wrong by ``wrong_ms``."""
    readings = Readings(T_MS + after_ms + wrong_ms, 500 + after_ms, appended_ms)
    return POLICY.decide(state, readings)


@given(
    wrong_ms=st.integers(-(10**10), 10**10).filter(lambda ms: abs(ms) >= 5_000),
    after_ms=st.integers(0, 10**9),
)
def test_a_jump_is_told_once_and_the_time_stays_true(wrong_ms: int, after_ms: int) -> None:
    first = decide(BEGUN, after_ms, wrong_ms)
    assert (first.now_ms, first.jump_ms) == (T_MS + after_ms, wrong_ms)
    again = decide(first.state, after_ms + 1_000, wrong_ms)
    assert (again.now_ms, again.jump_ms) == (T_MS + after_ms + 1_000, 0)
    back = decide(again.state, after_ms + 2_000, 0)
    assert (back.now_ms, back.jump_ms, back.state.off_ms) == (T_MS + after_ms + 2_000, -wrong_ms, 0)


@given(steps_ms=st.lists(st.integers(-4_999, 4_999), max_size=30))
def test_small_steps_are_followed_however_many(steps_ms: list[int]) -> None:
    state, wrong_ms = BEGUN, 0
    for number, step_ms in enumerate(steps_ms):
        wrong_ms += step_ms
        verdict = decide(state, number * 1_000, wrong_ms)
        assert (verdict.now_ms, verdict.jump_ms) == (T_MS + number * 1_000 + wrong_ms, 0)
        state = verdict.state


def test_a_second_jump_on_top_of_the_first_is_told_too() -> None:
    first = decide(BEGUN, 0, HOUR_MS)
    second = decide(first.state, 1_000, 3 * HOUR_MS)
    assert second.jump_ms == 2 * HOUR_MS
    assert second.now_ms == T_MS + 1_000


def test_after_a_stop_of_hours_the_wall_clock_is_followed_once_kafka_shows_it_right() -> None:
    # the monotonic clock stood meanwhile; without Kafka's word good records would be buried
    assert decide(BEGUN, 1_000, 2 * HOUR_MS).now_ms == T_MS + 1_000
    appended_ms = T_MS + 2 * HOUR_MS
    shown = decide(BEGUN, 1_000, 2 * HOUR_MS, appended_ms)
    assert (shown.now_ms, shown.jump_ms) == (T_MS + 1_000 + 2 * HOUR_MS, 2 * HOUR_MS)
    assert shown.state.off_ms == 0


def test_a_kafka_whose_clock_is_ahead_of_both_of_ours_is_not_followed() -> None:
    assert decide(BEGUN, 1_000, 0, T_MS + 5 * HOUR_MS).now_ms == T_MS + 1_000
    jumped = decide(BEGUN, 1_000, HOUR_MS, T_MS + 5 * HOUR_MS)
    assert jumped.now_ms == T_MS + 1_000


def test_a_clock_put_right_is_followed_once_kafka_went_with_it_for_a_while() -> None:
    state = BEGUN
    for after_ms in range(0, 10_000, 500):
        verdict = decide(state, after_ms, -HOUR_MS, T_MS + after_ms - HOUR_MS - 200)
        assert verdict.now_ms == T_MS + after_ms
        state = verdict.state
    followed = decide(state, 10_000, -HOUR_MS, T_MS + 10_000 - HOUR_MS)
    assert followed.now_ms == T_MS + 10_000 - HOUR_MS


def test_a_backlog_whose_times_pass_by_a_wrong_clock_does_not_make_it_believed() -> None:
    state = BEGUN
    for step in range(400):  # 40 s of reading at 100 times the speed of life
        after_ms = 100 * step
        verdict = decide(state, after_ms, -HOUR_MS, T_MS - 2 * HOUR_MS + 10_000 * step)
        assert verdict.now_ms == T_MS + after_ms
        state = verdict.state


def test_jumps_are_told_to_who_listens() -> None:
    told: list[tuple[int, int]] = []
    time_ms = {"wall": T_MS, "monotonic": 0}
    clocks = Clocks(lambda: time_ms["wall"], lambda: time_ms["monotonic"])
    clock = SteadyClock(clocks, lambda jump_ms, off_ms: told.append((jump_ms, off_ms)))
    time_ms.update(wall=T_MS - HOUR_MS, monotonic=1_000)
    assert clock.now_ms() == T_MS + 1_000
    assert clock.off_ms == -HOUR_MS - 1_000
    time_ms.update(wall=T_MS + 2_000, monotonic=2_000)
    assert clock.now_ms() == T_MS + 2_000
    assert clock.off_ms == 0
    assert told == [(-HOUR_MS - 1_000, -HOUR_MS - 1_000), (HOUR_MS + 1_000, 0)]
