"""The short form of `make chaos`: three rounds of faults, each record accounted for."""

import asyncio
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.chaos import checks, report
from tests.chaos.__main__ import main
from tests.chaos.checks import Account, ChaosFailed, check, settle
from tests.chaos.commits import committed_of
from tests.chaos.run import RoundFailed, run
from tests.chaos.stage import Stage

# The shared servers are not used: they skip the test, or fail it in CI, where there are none.
pytestmark = [
    *(pytest.mark.slow, pytest.mark.alone),  # limits of time after a fault
    pytest.mark.usefixtures("kafka", "redis_server"),
]


def test_three_rounds_of_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    kinds = "worker paused,Redis cut short and killed,Kafka killed"
    result = run(tmp_path, 8, 3, lines.append, kinds)
    report.write_json(result, tmp_path / "chaos.json")
    figures = json.loads((tmp_path / "chaos.json").read_text())
    assert figures["rounds"] == len(lines) == 3
    assert figures["records"] > 5_000
    wrong = ("lost", "duplicated", "surges_missing", "surges_contradicting", "zombies")
    assert {name: figures[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert set(figures["seconds_to_recover"]) == set(kinds.split(","))
    assert figures["bursts"] == 1
    assert figures["unstored_at_fault"][0] > 0, "the burst was not read to its end before the fault"
    assert figures["paused_taken_over"] > 0, "others had the partitions of one that was woken"
    assert figures["late"] > 0


def test_each_check_finds_and_names_what_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage.built(tmp_path, seed=1, rounds=1)
    monkeypatch.setattr(checks, "TOLD_SECONDS_MAX", 0.0)
    with stage.kept, Redis.from_url(stage.redis.url) as client:
        stage.stream.owe(12_000)
        settle(stage)
        check(stage, Account())
        expect_wrong(stage, "lost", lambda: lose_a_creator(client))
        check_surges(stage)
        place = next(iter(stage.truth.dead))
        letter = stage.truth.dead.pop(place)
        expect_wrong(stage, None, lambda: f"bad record {place}")
        stage.truth.dead[place] = letter
        assert stage.wait_for(lambda: committed_offset(stage) > 1, 30)
        meta = "chaos:{chaos-follows:0}:meta"
        client.hset(meta, "offset", 1)
        with pytest.raises(ChaosFailed, match="committed past what is stored"):
            checks.check_commits(stage)
        monkeypatch.setattr(checks, "RECOVERY_SECONDS_MAX", 2.0)
        stage.fleet.pause(stage.fleet.workers[0])
        expect_wrong(stage, "zombies", lambda: "not ready: worker-1")
        for worker in stage.fleet.workers:
            stage.fleet.pause(worker)
        with pytest.raises(ChaosFailed, match="not read within 2 s"):
            checks.reading_again(stage)


def committed_offset(stage: Stage) -> int:
    return asyncio.run(committed_of(stage.site)).get(("chaos-follows", 0), 0)


def check_surges(stage: Stage) -> None:
    truth = stage.truth
    name, surge = next(iter(truth.told.items()))
    del truth.told[name]
    expect_wrong(stage, "surges_missing", lambda: f"surge not announced: {name}")
    truth.told[name] = msgspec.structs.replace(surge, observed=surge.observed + 1)
    expect_wrong(stage, "surges_contradicting", lambda: f"no record implies: {name}")
    truth.told[name] = surge


def lose_a_creator(client: Redis) -> str:
    key = next(client.scan_iter(match="chaos:{chaos-follows:*}:s:follows:*"))
    creator = bytes(min(client.hkeys(key)))  # type: ignore[arg-type]  # bytes
    client.hdel(key, creator)
    return f"follows '{creator.decode()}'"


def expect_wrong(stage: Stage, figure: str | None, harm: Callable[[], str]) -> None:
    """What `harm` gives is named in the failure, and the figure is not 0."""
    words, account = harm(), Account()
    with pytest.raises(ChaosFailed, match=re.escape(words)):
        check(stage, account)
    assert figure is None or getattr(account, figure) > 0


def test_a_failure_of_any_kind_names_seed_and_round_and_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        msg = "gone"
        raise RedisError(msg)

    monkeypatch.setattr("tests.chaos.run.settle", fail)
    told = ["--rounds", "1", "--seed", "3", "--only", "worker ended", "--json"]
    assert main([*told, str(tmp_path / "chaos.json")]) == 1
    out = capsys.readouterr().out
    assert "FAILED: seed 3, round 1 (worker ended" in out
    assert "RedisError: gone" in out
    [folder] = re.findall(r"logs are kept in (\S+)", out)
    assert list(Path(folder).glob("worker-*.log"))
    shutil.rmtree(folder)
    assert json.loads((tmp_path / "chaos.json").read_text())["rounds"] == 0


def test_a_difference_is_told_as_it_is_and_a_failed_start_is_one_of_the_first_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        msg = "follows 'c-1': sent {1: 2}, stored {1: 1}"
        raise ChaosFailed(msg)

    monkeypatch.setattr(Stage, "built", fail)
    words = r"^seed 3, round 1 \(no fault yet\):\nfollows 'c-1': sent"
    with pytest.raises(RoundFailed, match=words) as failed:
        run(tmp_path, 3, 1, print)
    report.write_json(failed.value.result, tmp_path / "chaos.json")
    assert json.loads((tmp_path / "chaos.json").read_text())["rounds"] == 0
