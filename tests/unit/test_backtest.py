"""The back-test finds the surges that the partitions' own jobs find."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams.app.backtest.result import BacktestResult
from streams.app.backtest.run import Backtest
from streams.app.cli import main
from streams.app.jobs import comment_partition_of, follow_partition_of
from streams.core.records.dealing import Dealer
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from streams.edges.codec.out import decode_dead_letter, decode_surge
from streams.edges.files.records import RecordFile
from streams.edges.kafka.producer import partition_of
from streams.edges.settings.reading import Settings
from tests.jobs import comments, follows
from tests.wave_rows import BEGIN, WAVE, records

BEGIN_MS = 1_736_899_200_000
PARTITIONS = 3
SETTINGS = Settings(rule_followers_24h=60, rule_comments_24h=40, topic_partitions=PARTITIONS)
ENVIRON = {
    "SURGEWATCH_RULE_FOLLOWERS_24H": "60",
    "SURGEWATCH_RULE_COMMENTS_24H": "40",
    "SURGEWATCH_TOPIC_PARTITIONS": "3",
}
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def follow_records() -> Records:
    rng = random.Random(3)
    at = sorted(BEGIN_MS + rng.randrange(6 * 3_600_000) for _ in range(3_000))
    return [
        {
            "creator_id": f"c-{min(int(rng.paretovariate(0.7)), 90)}",
            "follower_id": f"f-{n}",
            "at_ms": at_ms - rng.randrange(600_000),
            "kind": "unfollow" if rng.random() < 0.05 else "follow",
        }
        for n, at_ms in enumerate(at)
    ]


@pytest.fixture(scope="module")
def comment_records() -> Records:
    rng = random.Random(4)
    at = sorted(BEGIN_MS + rng.randrange(6 * 3_600_000) for _ in range(1_500))
    creators = [min(int(rng.paretovariate(0.7)), 50) for _ in at]
    return [
        {
            "creator_id": f"c-{creator}",
            "post_id": f"p-{creator}-{rng.randrange(2)}",
            "comment_id": f"k-{n}",
            "commenter_id": f"u-{n}",
            "at_ms": at_ms,
            "lang": rng.choice(["en", "zh"]),
        }
        for n, (creator, at_ms) in enumerate(zip(creators, at, strict=True))
    ]


@pytest.fixture
def files(tmp_path: Path, follow_records: Records, comment_records: Records) -> tuple[Path, Path]:
    paths = (tmp_path / "follows.ndjson", tmp_path / "comments.ndjson.gz")
    paths[0].write_bytes(lines_of(follow_records))
    paths[1].write_bytes(gzip.compress(lines_of(comment_records)))
    return paths


def lines_of(records: Records) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def mine(records: Records, number: int) -> Records:
    return [r for r in records if partition_of(r["creator_id"].encode(), PARTITIONS) == number]


def direct_surges(follow_records: Records, comment_records: Records) -> list[Surge]:
    """Surges of the jobs, each given all of its partition's records at once."""
    told: list[Surge] = []
    for number in range(PARTITIONS):
        rows = mine(follow_records, number)
        chunk = follows([(r["creator_id"], r["at_ms"], r["kind"] == "unfollow") for r in rows])
        told += follow_partition_of(SETTINGS).take(chunk).surges
    for number in range(PARTITIONS):
        rows = mine(comment_records, number)
        said = comments([(r["creator_id"], r["post_id"], r["lang"], r["at_ms"]) for r in rows])
        told += comment_partition_of(SETTINGS).take(said).surges
    return sorted(told, key=lambda surge: surge.seen_ms)


def backtested(files: tuple[Path, Path], chunk_records: int | None = None) -> BacktestResult:
    backtest = Backtest(SETTINGS, lambda dead: None, chunk_records)
    for path, topic in zip(files, ("follows", "comments"), strict=True):
        with RecordFile(path, topic) as file:
            backtest.take(file)
    return backtest.result


def run(*arguments: object, **environ: str) -> Result:
    runner = CliRunner(env=ENVIRON | environ)
    return runner.invoke(main, ["backtest", *map(str, arguments)], prog_name="surgewatch")


def test_surges_are_those_of_the_partitions_jobs(
    files: tuple[Path, Path], follow_records: Records, comment_records: Records
) -> None:
    expected = direct_surges(follow_records, comment_records)
    kinds = {(surge.kind, surge.trigger, surge.state) for surge in expected}
    assert {("followers", "rule", "opened"), ("comments", "rule", "opened")} <= kinds
    assert len(expected) > 20
    assert backtested(files).surges() == expected


@pytest.mark.parametrize("chunk_records", [1, 7, 500])
def test_chunk_size_leaves_no_trace(files: tuple[Path, Path], chunk_records: int) -> None:
    small, whole = backtested(files, chunk_records), backtested(files)
    assert small.surges() == whole.surges()
    assert (small.counted, small.late) == (whole.counted, whole.late) == (4_500, 0)


def test_command_writes_the_surges_in_order_and_sums_up(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "surges.ndjson"
    result = run("--follows", files[0], "--comments", files[1], "--surges", out, "--json")
    assert result.exit_code == 0, result.output
    surges = [decode_surge(line) for line in out.read_bytes().splitlines()]
    assert surges == backtested(files).surges()
    assert [s.seen_ms for s in surges] == sorted(s.seen_ms for s in surges)
    told = json.loads(result.stdout)
    assert told["records"] == {"follows": 3_000, "comments": 1_500}
    assert (told["counted"], told["late"], told["dead"], told["truth"]) == (4_500, 0, {}, None)
    kinds = Counter((s.kind, s.trigger, s.state) for s in surges)
    assert {(k["kind"], k["trigger"], k["state"]): k["count"] for k in told["surges"]} == kinds
    assert told["records_per_second"] > 0


def test_one_file_is_enough_and_its_packing_makes_no_difference(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    packed = tmp_path / "follows.gz"
    packed.write_bytes(gzip.compress(files[0].read_bytes()))
    for name, path in (("a", files[0]), ("b", packed)):
        assert run("--follows", path, "--surges", tmp_path / name).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size > 1_000
    only = run("--comments", files[1])
    assert "1,500 records in" in only.stdout
    assert "surges: " in only.stdout


def test_bad_lines_are_counted_and_kept_and_harm_nothing(
    files: tuple[Path, Path], tmp_path: Path, follow_records: Records
) -> None:
    bad = [b"", b"no json", b'{"creator_id":"c"}', b'{"creator_id":"c","at_ms":1736899200}']
    lines = lines_of(follow_records).splitlines()
    for line in bad:
        lines.insert(1_000, line)
    spoilt, dead = tmp_path / "spoilt.ndjson", tmp_path / "dead.ndjson"
    spoilt.write_bytes(b"\n".join(lines))
    assert run("--follows", files[0], "--surges", tmp_path / "a").exit_code == 0
    result = run("--follows", spoilt, "--surges", tmp_path / "b", "--dead", dead)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "3,000 counted, 0 late, 0 repeated, 4 that cannot be used" in result.stdout
    letters = [decode_dead_letter(line) for line in dead.read_bytes().splitlines()]
    assert [letter.raw_base64 for letter in letters] == bad[::-1]
    assert [letter.offset for letter in letters] == [1_000, 1_001, 1_002, 1_003]
    assert "cannot be used: 1 empty" in result.stdout


def test_far_future_and_late_records_are_told(tmp_path: Path, follow_records: Records) -> None:
    path = tmp_path / "f"
    ahead = dict(follow_records[0], at_ms=BEGIN_MS + 3 * 86_400_000)
    path.write_bytes(lines_of([*follow_records[:5], ahead, ahead | {"at_ms": BEGIN_MS}]))
    told = json.loads(run("--follows", path, "--json").stdout)
    assert (told["counted"], told["late"], told["dead"]) == (6, 1, {})


def test_truth_of_a_simulation_is_found(tmp_path: Path) -> None:
    f, c, t = (tmp_path / name for name in ("f", "c", "t"))
    small = ["--creators=100", "--follows-per-day=2000", "--wave-users=500", "--hours=26"]
    outs = ["--follows-out", str(f), "--comments-out", str(c), "--truth", str(t)]
    assert CliRunner().invoke(main, ["simulate", *small, *outs]).exit_code == 0
    rules = {"SURGEWATCH_RULE_FOLLOWERS_24H": "50000", "SURGEWATCH_RULE_COMMENTS_24H": "4000"}
    arguments = ("--follows", f, "--comments", c, "--truth", t)
    result = run(*arguments, "--json", **rules)
    told = json.loads(result.stdout)["truth"]
    assert len(told) == len(json.loads(t.read_bytes())["surges"]) >= 2
    assert all(row["found"] for row in told)
    missed = run(*arguments, **(rules | {"SURGEWATCH_RULE_COMMENTS_24H": "4001"}))
    assert missed.stdout.count("MISSED") == sum(row["kind"] == "comments" for row in told)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("--follows", "none.ndjson"), 4, "none.ndjson: no such file"),
        (("--follows", "f", "--surges", "no/where"), 4, "no/where: cannot be written"),
        (("--follows", "f", "--truth", "none.json"), 4, "none.json: no such file"),
        (("--follows", "f", "--truth", "f"), 4, "f: is not a truth that surgewatch simulate wrote"),
    ],
)
def test_unusable_file_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    exit_code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_bytes(b"{}\n")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_broken_file_leaves_no_output(files: tuple[Path, Path], tmp_path: Path) -> None:
    broken, out = tmp_path / "broken.gz", tmp_path / "out"
    broken.write_bytes(files[1].read_bytes()[:-500])
    result = run("--comments", broken, "--surges", out)
    assert result.exit_code == 4
    assert "ends in the middle of its gzip data" in result.stderr
    assert not out.exists()


def test_detector_that_cannot_be_made_is_one_line(files: tuple[Path, Path]) -> None:
    result = run("--follows", files[0], SURGEWATCH_DETECTOR="river.anomaly.None")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_dealer_keeps_order_and_loses_nothing() -> None:
    records = [(f"c-{n % 40}", BEGIN_MS + n, n % 3 == 0) for n in range(1_000)]
    dealer = Dealer(7, lambda creator: int(creator[2:]) % 7)
    parts = dict(dealer.deal_follows(follows(records)))
    assert sorted(parts) == list(range(7))
    for number, part in parts.items():
        rows = zip(part.creator_ids, part.at_ms.tolist(), part.unfollows.tolist(), strict=True)
        assert list(rows) == [r for r in records if int(r[0][2:]) % 7 == number]


def test_a_record_that_is_given_twice_is_told_as_repeated(tmp_path: Path) -> None:
    line = b'{"event_id":"e","creator_id":"c","follower_id":"f","at_ms":1736899200000}\n'
    path = tmp_path / "follows.ndjson"
    path.write_bytes(line * 3)
    told = json.loads(run("--follows", path, "--surges", tmp_path / "s", "--json").stdout)
    assert (told["counted"], told["repeated"]) == (1, 2)


def compared(files: tuple[Path, Path], tmp_path: Path, other: str, *options: str) -> dict[str, Any]:
    config = tmp_path / "other.toml"
    config.write_text(other)
    asked = ["backtest", "--follows", str(files[0]), "--comments", str(files[1])]
    result = CliRunner().invoke(
        main, [*asked, "--compare", str(config), "--json", *options], env=ENVIRON
    )
    assert result.exit_code == 0, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def test_comparison_with_the_same_settings_keeps_every_alarm(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    summary = compared(files, tmp_path, "topic_partitions = 3")
    found = summary["compared"]
    assert found["settings"] == {}
    assert found["alarms"] == summary["alarms"]
    assert sum(row["kept"] for row in found["rows"]) > 0
    assert all((row["gained"], row["lost"]) == (0, 0) for row in found["rows"])


def test_comparison_tells_the_other_settings_own_back_test(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    other = {"SURGEWATCH_BUDGET_NOTICES_PER_CREATOR_DAY": "0.3", "SURGEWATCH_TOPIC_PARTITIONS": "3"}
    environ = ENVIRON | {"SURGEWATCH_TOPIC_PARTITIONS": ""}
    for variable in environ:
        other.setdefault(variable, ENVIRON[variable])
    asked = ["backtest", "--follows", str(files[0]), "--comments", str(files[1]), "--json"]
    alone = json.loads(CliRunner().invoke(main, asked, env=other).stdout)
    changes = tmp_path / "changes.ndjson"
    toml = "budget_notices_per_creator_day = 0.3"
    summary = compared(files, tmp_path, toml, "--changes", str(changes))
    found = summary["compared"]
    assert found["settings"] == {"budget_notices_per_creator_day": [0.001, 0.3]}
    assert found["alarms"] == alone["alarms"] != summary["alarms"]
    lines = [json.loads(line) for line in changes.read_bytes().splitlines()]
    told = Counter(line["change"] for line in lines)
    assert told["gained"] == sum(row["gained"] for row in found["rows"]) > 0
    assert told["lost"] == sum(row["lost"] for row in found["rows"])
    assert {line["surge"]["state"] for line in lines} == {"opened"}
    for what in ("kept", "gained", "lost"):
        of_cohorts = sum(row[what] for row in found["by_cohort"])
        assert of_cohorts == sum(row[what] for row in found["rows"] if row["kind"] != "wave")
    assert {row["lang"] for row in found["by_cohort"]} >= {"zh", "en"}


def test_comparison_leaves_the_surges_as_they_are_alone(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    environ = {name: ENVIRON[name] for name in ENVIRON if "PARTITIONS" not in name}
    config, out = tmp_path / "other.toml", (tmp_path / "alone.ndjson", tmp_path / "beside.ndjson")
    config.write_text("topic_partitions = 5\nrecord_bytes_max = 128\nrepeats_horizon_ms = 0")
    asked = ["backtest", "--follows", str(files[0]), "--surges"]
    for path, more in zip(out, ([], ["--compare", str(config)]), strict=True):
        result = CliRunner().invoke(main, [*asked, str(path), *more], env=environ)
        assert result.exit_code == 0, result.output
    assert out[0].read_bytes() == out[1].read_bytes() != b""


def test_comparison_in_words_says_what_is_set_otherwise_and_what_comes_of_it(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    config = tmp_path / "other.toml"
    config.write_text("budget_notices_per_creator_day = 0.3")
    asked = ["backtest", "--follows", str(files[0]), "--compare", str(config)]
    result = CliRunner().invoke(main, asked, env=ENVIRON)
    assert "set otherwise: budget_notices_per_creator_day 0.001 -> 0.3\n" in result.stdout
    assert " a day (+" in result.stdout
    assert "creators of follows:" in result.stdout
    assert "by the language and region of the audience:" in result.stdout


@pytest.mark.parametrize(
    ("toml", "words"),
    [("budget = 1", "unknown key"), ("topic_partitions = -1", "topic_partitions")],
)
def test_other_settings_that_are_none_are_one_line(
    files: tuple[Path, Path], tmp_path: Path, toml: str, words: str
) -> None:
    config = tmp_path / "other.toml"
    config.write_text(toml)
    asked = ["backtest", "--follows", str(files[0]), "--compare", str(config)]
    result = CliRunner().invoke(main, asked, env=ENVIRON)
    assert (result.exit_code, words in result.output, result.stdout) == (2, True, "")


def test_changes_without_a_comparison_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    asked = ["backtest", "--follows", str(files[0]), "--changes", str(tmp_path / "changes")]
    result = CliRunner().invoke(main, asked, env=ENVIRON)
    assert (result.exit_code, "give it too" in result.output) == (2, True)


def test_a_wave_over_all_partitions_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "follows.ndjson"
    path.write_bytes(b"\n".join(value for *_, value in records()))
    told = []
    for chunk_records in (7_000, 60_000):
        backtest = Backtest(Settings(topic_partitions=4), lambda dead: None, chunk_records)
        with RecordFile(path, "follows") as file:
            backtest.take(file)
        told.append([one for one in backtest.result.surges() if one.kind == "wave"])
    assert told[0] == told[1]
    assert {one.surge_id for one in told[0]} == {told[0][0].surge_id}
    assert told[0][0].wave is not None
    assert told[0][0].wave.partitions == 4
    assert told[0][0].seen_ms <= (BEGIN + WAVE + 3) * BUCKET_MS, "within 15 minutes"
