"""The short form of `make chaos`: three rounds of faults, each record accounted for."""

import json
from pathlib import Path

import pytest
from redis import Redis

from tests.chaos import report
from tests.chaos.checks import Account, ChaosFailed, check, settle
from tests.chaos.run import run
from tests.chaos.stage import Stage

# The shared servers are not used: they skip the test, or fail it in CI, where there are none.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kafka", "redis_server")]


def test_three_rounds_of_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    kinds = "worker paused,Redis cut short,Kafka killed"
    result = run(tmp_path, 7, 3, lines.append, kinds)
    report.write_json(result, tmp_path / "chaos.json")
    figures = json.loads((tmp_path / "chaos.json").read_text())
    assert figures["rounds"] == len(lines) == 3
    assert figures["records"] > 5_000
    wrong = ("lost", "duplicated", "surges_missing", "surges_contradicting", "zombies")
    assert {name: figures[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert set(figures["seconds_to_recover"]) == set(kinds.split(","))


def test_a_count_that_is_not_the_ledgers_is_found_and_named(tmp_path: Path) -> None:
    stage = Stage.built(tmp_path, seed=1, rounds=1)
    with stage.kept:
        stage.stream.owe(3_000)
        settle(stage)
        check(stage, Account())
        with Redis.from_url(stage.redis.url) as client:
            key = next(client.scan_iter(match="chaos:{chaos-follows:*}:s:follows:*"))
            creator = min(client.hkeys(key))
            client.hdel(key, creator)
        account = Account()
        with pytest.raises(ChaosFailed, match=f"follows '{creator.decode()}'"):
            check(stage, account)
        assert account.lost > 0
