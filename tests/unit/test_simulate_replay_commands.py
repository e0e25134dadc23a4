"""The simulate and replay commands as a user types them, without a server."""

import asyncio
import gzip
import io
import json
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from streams.app.commands.pace import Pace, progress_bar
from streams.app.commands.replay import replay
from streams.app.simulate.command import (
    SimulateSummary,
    SimulateTask,
    run_simulate,
    simulate,
    write_world,
)
from streams.core.worlds.plans import WORLDS
from streams.core.worlds.platform import WorldPolicy, world_of
from streams.core.worlds.simulated_delivery import WorldStep
from streams.core.worlds.truth import Truth
from streams.edges.errors import Interrupted, KafkaUnreachable, SettingsError
from streams.edges.files.records import FileMissing, FileUnwritable
from streams.edges.kafka.producer import client_options_of, partition_of
from streams.edges.settings.reading import Settings

SMALL = ("--creators", "100", "--follows-per-day", "2000", "--wave-users", "500", "--hours", "26")
NOTHING_TRUE = Truth(
    seed=7,
    start_ms=0,
    end_ms=0,
    follows=0,
    unfollows=0,
    comments=0,
    bad_records=0,
    surges=[],
    stories=[],
    wave=None,
)
NO_KAFKA = Settings(kafka_bootstrap_servers="127.0.0.1:9", kafka_timeout_ms=1_000)


def run(command: click.Command, *arguments: object, settings: Settings = NO_KAFKA) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments], obj=settings)


def test_simulate_writes_records_and_a_truth_that_agree(tmp_path: Path) -> None:
    follows, comments, truth = (tmp_path / n for n in ("f.ndjson", "c.ndjson.gz", "t.json"))
    outs = ("--follows-out", follows, "--comments-out", comments, "--truth", truth)
    result = run(simulate, *SMALL, *outs, "--start", "2025-01-14T16:00:00+08:00")
    assert result.exit_code == 0, result.output
    told = json.loads(truth.read_bytes())
    kinds = [json.loads(line)["kind"] for line in follows.read_bytes().splitlines()]
    assert kinds.count("follow") == told["follows"]
    assert kinds.count("unfollow") == told["unfollows"]
    assert len(gzip.decompress(comments.read_bytes()).splitlines()) == told["comments"]
    assert told["start_ms"] == 1_736_841_600_000
    rules = {(s["kind"], s["threshold"]) for s in told["surges"]}
    assert rules == {("followers", 50_000), ("comments", 4_000)}
    assert "reaches 50,000 followers in 24 h at 2025-01-1" in result.stdout
    assert f"{len(kinds) + told['comments']:,} records" in result.stdout


def test_simulate_of_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        result = run(simulate, *SMALL, "--seed", 3, "--follows-out", tmp_path / name)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--creators", "1"), "creators is 1: it must be 2 to 999999"),
        (("--bad-share", "2"), "bad_share is 2.0: it must be between 0 and 1"),
        (("--start", "yesterday"), "'yesterday' is no time: write it like 2025-"),
        (("--start", "1970-01-01"), "must lie in the years 2000 to 2095"),
        (("--speed", "0"), "0.0 is not in the range x>0"),
        (("--speed", "5", "--follows-out", "x"), "--speed is for Kafka"),
    ],
)
def test_simulate_refuses_a_wrong_option_in_one_line(
    arguments: tuple[str, ...], words: str
) -> None:
    result = run(simulate, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_simulate_opens_its_outputs_before_it_works(tmp_path: Path) -> None:
    result = run(simulate, "--truth", tmp_path / "none" / "truth.json")
    assert isinstance(result.exception, FileUnwritable)


def test_interrupted_simulate_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(task: SimulateTask, told: object) -> None:
        steps = 0

        def stop(step: WorldStep) -> None:
            nonlocal steps
            steps += 1
            if steps == 5:
                raise KeyboardInterrupt

        write_world(task, stop)

    monkeypatch.setattr("streams.app.simulate.command.write_world", interrupted)
    world = world_of(WorldPolicy(creators=100, follows_per_day=1000), 7, 1_736_899_200_000)
    task = SimulateTask(world=world, follows_out=tmp_path / "f", truth_out=tmp_path / "t")
    with pytest.raises(Interrupted, match="interrupted: no file was written") as caught:
        run_simulate(task, Settings(), Console(file=io.StringIO()))
    assert caught.value.exit_code == 130
    assert list(tmp_path.iterdir()) == []


def test_commands_without_kafka_say_so_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f.ndjson"
    path.write_bytes(b"{}\n")
    for result in (run(simulate, *SMALL), run(replay, "--follows", path)):
        assert isinstance(result.exception, KafkaUnreachable)
        assert result.exception.exit_code == 3
        assert "cannot reach Kafka at 127.0.0.1:9" in str(result.exception)
        assert "\n" not in str(result.exception)
        assert result.output == ""


def test_replay_of_nothing_or_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    nothing = run(replay)
    assert nothing.exit_code == 2
    assert "give --follows, --comments or both" in nothing.stderr
    missing = run(replay, "--comments", tmp_path / "none.ndjson")
    assert isinstance(missing.exception, FileMissing)


@pytest.mark.parametrize("command", [simulate, replay])
def test_help_has_an_example(command: click.Command) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: surgewatch {command.name}" in result.stdout


def test_slices_of_a_pace_are_a_fifth_of_a_second_of_real_time() -> None:
    assert Pace(3600.0).slice_ms == 720_000
    assert Pace(0.001).slice_ms == 1
    assert Pace(None).slice_ms == 60_000


def test_a_pace_with_a_clock_tells_what_is_to_come_in_slices_of_a_fifth_of_a_second() -> None:
    pace = Pace(3600.0, lambda: 1_000_000)
    assert pace.slice_before(1_000_000) == 720_000
    assert pace.slice_before(1_000_001) == 200
    assert Pace(3600.0).slice_before(10**15) == 720_000
    assert [one.holds for one in (Pace(None), Pace(1.0), pace)] == [False, True, True]


def test_a_pace_with_a_clock_sends_nothing_before_its_time() -> None:
    async def waited(pace: Pace, at_ms: int) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await pace.wait(at_ms)
        return loop.time() - began

    async def all_waits() -> list[float]:
        pace = Pace(3_600_000.0, lambda: 1_000_000)
        return [await waited(pace, at_ms) for at_ms in (0, 999_700, 1_000_100)]

    first, past, to_come = asyncio.run(all_waits())
    assert max(first, past) < 0.2
    assert to_come >= 0.3, "until the slice of 200 ms from it is over"


def test_simulate_begins_hours_ago_and_then_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[SimulateTask] = []

    def taken(task: SimulateTask, settings: object, console: object) -> SimulateSummary:
        tasks.append(task)
        return SimulateSummary(truth=NOTHING_TRUE, records=0, seconds=1.0)

    monkeypatch.setattr("streams.app.simulate.command.run_simulate", taken)
    monkeypatch.setattr("streams.app.simulate.command.now_ms", lambda: 1_736_899_200_000)
    for start in ("now-24h", "2025-01-13T00:00:00Z"):
        result = run(simulate, *SMALL, "--start", start)
        assert result.exit_code == 0, result.output
    assert [(task.world.start_ms, task.live) for task in tasks] == [
        (1_736_899_200_000 - 86_400_000, True),
        (1_736_726_400_000, False),
    ]


def test_bar_is_drawn_on_a_terminal_only() -> None:
    terminal, plain = io.StringIO(), io.StringIO()
    for console in (Console(file=terminal, force_terminal=True), Console(file=plain)):
        with progress_bar(console, "replay") as bar:
            bar.show(0.5, "7 records")
    assert "7 records" in terminal.getvalue()
    assert plain.getvalue() == ""


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
    ],
)
def test_partition_is_that_of_the_java_client(key: bytes, murmur2: int) -> None:
    # The hashes are those of Kafka's own UtilsTest.testMurmur2.
    for partition_count in (1, 4, 12, 1000):
        assert partition_of(key, partition_count) == (murmur2 & 0x7FFFFFFF) % partition_count


def test_client_options_hold_the_login_and_the_authorities(tmp_path: Path) -> None:
    plain = client_options_of(Settings())
    assert set(plain) == {"bootstrap_servers", "security_protocol", "request_timeout_ms"}
    login = Settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="surgewatch",
        kafka_sasl_password="secret",
    )
    options = client_options_of(login)
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert options["sasl_plain_password"] == "secret"
    assert options["ssl_context"].check_hostname
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for path, words in ((broken, "no certificate"), (tmp_path / "none.pem", "cannot be read")):
        with pytest.raises(SettingsError, match=f"kafka_ssl_cafile = {path}: .*{words}"):
            client_options_of(Settings(kafka_security_protocol="SSL", kafka_ssl_cafile=str(path)))


@pytest.mark.parametrize("name", ["uneven-wave", "bought", "mix"])
def test_named_world_is_written_with_a_truth_that_backtest_reads(tmp_path: Path, name: str) -> None:
    follows, comments, truth = (tmp_path / n for n in ("f.ndjson", "c.ndjson", "t.json"))
    outs = ("--follows-out", follows, "--comments-out", comments, "--truth", truth)
    result = run(simulate, "--world", name, "--creators", 200, "--hours", 12, *outs)
    assert result.exit_code == 0, result.output
    told = msgspec.json.decode(truth.read_bytes(), type=Truth)
    assert told.world is not None
    assert told.world.world == name
    lines = [json.loads(line) for line in follows.read_bytes().splitlines()]
    assert sum(line["kind"] == "follow" for line in lines) == told.follows
    assert f"{name}: 200 creators" in result.stdout


def test_series_of_a_world_is_a_csv_of_five_minutes(tmp_path: Path) -> None:
    series, truth = tmp_path / "s.csv", tmp_path / "t.json"
    result = run(
        simulate, "--world", "put-back", "--creators", 300, "--hours", 48,
        "--series", series, "--truth", truth,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = series.read_text().splitlines()
    assert lines[0] == "timestamp,value"
    assert lines[1].startswith("2025-01-13 00:00:00,")
    assert lines[2].startswith("2025-01-13 00:05:00,")
    assert len(lines) == 1 + 48 * 12
    assert {a["what"] for a in json.loads(truth.read_bytes())["artefacts"]} == {"put_back"}


def test_help_lists_each_world_with_a_line_of_its_own() -> None:
    lines = run(simulate, "--help").stdout.splitlines()
    for name, plan in WORLDS.items():
        assert [line.split() for line in lines].count([name, *plan.about.split()]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--world", "moon"), "'moon' is not one of"),
        (("--world", "quiet", "--wave-users", 5), "are for --world story"),
        (("--world", "quiet", "--creators", 1), "creators is 1"),
        (("--series", "s.csv", "--follows-out", "f"), "--series is written instead of records"),
        (("--world", "quiet", "--creators", 1, "--series", "s.csv"), "creators is 1"),
    ],
)
def test_named_world_refuses_what_it_cannot_do(arguments: tuple[object, ...], words: str) -> None:
    result = run(simulate, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
