"""The command lag on real servers: before a worker, with one, and after Kafka deleted records."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jsonschema
from click.testing import CliRunner, Result

from streams.app.cli import main
from streams.edges.codec.schemas import read_schema
from streams.edges.kafka.producer import partition_of
from tests.e2e.desk import FollowsDesk
from tests.workers import Site, WorkerProcess, wait_until

ONE = "creator-1"
PLACE = partition_of(ONE.encode(), 4)
VALIDATOR = jsonschema.Draft202012Validator(read_schema("lag"))


def run(site: Site, *arguments: str, **more: str) -> Result:
    return CliRunner(env=site.environ | more).invoke(main, ["lag", *arguments])


def told(site: Site) -> dict[str, Any]:
    result = run(site, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    VALIDATOR.validate(found)
    return found


def one_of(report: dict[str, Any], topic: str) -> dict[str, Any]:
    (found,) = (
        one for one in report["partitions"] if (one["topic"], one["partition"]) == (topic, PLACE)
    )
    return dict(found)


def worker_in(log: str) -> str:
    """How the lines of a log name their worker."""
    return str(re.findall(r"worker=[^\s\]]+", log)[0])


def test_lag_is_told_without_a_worker_with_one_and_of_what_kafka_deleted(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    desk = FollowsDesk(site_of())
    desk.send(desk.follows([ONE] * 3_001, counted=True))
    before = told(desk.site)
    assert (before["group_state"], before["members"]) == ("Dead", 0)
    assert before["total"] == {
        "topic": None, "partitions": 12, "held": 0, "lag_records": 3_001, "lag_seconds": 3.0,
        "records_missed": 0,
    }  # fmt: skip
    mine = one_of(before, desk.topic)
    assert (mine["stored_offset"], mine["member"], mine["lag_seconds"]) == (None, None, 3.0)

    worker = start(desk.site, "worker")
    desk.wait_stored(worker, 3_001)
    looks = list[dict[str, Any]]()

    def is_caught_up() -> bool:  # its own wave reports wait, too, until it has read them
        looks.append(told(desk.site))
        return (looks[-1]["total"]["held"], looks[-1]["total"]["lag_records"]) == (12, 0)

    wait_until(is_caught_up, 30, worker.text)
    during = looks[-1]
    assert (during["group_state"], during["members"]) == ("Stable", 1)
    assert during["total"]["lag_seconds"] == 0.0
    mine = one_of(during, desk.topic)
    assert mine["stored_offset"] == 3_001
    assert f"worker={mine['member']}".startswith(worker_in(worker.text())), "the log's name of it"
    assert worker.stop() == 0

    desk.send(desk.follows([ONE] * 500, counted=False))
    after = told(desk.site)
    assert (after["group_state"], after["total"]["held"]) == ("Empty", 0)
    mine = one_of(after, desk.topic)
    assert (mine["stored_offset"], mine["end_offset"], mine["lag_records"]) == (3_001, 3_501, 500)
    assert mine["committed_offset"] == 3_001
    assert mine["lag_seconds"] == 0.499
    desk.delete_records_before(PLACE, 3_101)
    mine = one_of(told(desk.site), desk.topic)
    assert (mine["records_missed"], mine["lag_records"]) == (100, 400)
    lines = run(desk.site).stdout.splitlines()
    assert f"{desk.topic}\t{PLACE}\t3001\t3501\t400\t0.4\t100\tnobody" in lines
    (total,) = (line.split("\t") for line in lines if line.startswith("all\t"))
    assert int(total[4]) >= 400, "a wave report of the worker that ended may wait, too"
    assert (total[1], total[-2:]) == ("12", ["100", "0 held"])
    assert lines[-1].startswith(f"group {desk.site.name}: Empty, 0 workers, as of 20")


def test_lag_is_told_again_and_again_until_it_is_interrupted(site_of: Callable[..., Site]) -> None:
    site = site_of()
    command = [
        sys.executable,
        "-m",
        "streams.app.cli",
        "lag",
        "--watch",
        "--json",
        "--every",
        "0.1",
    ]
    with subprocess.Popen(command, env=site.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            VALIDATOR.validate(json.loads(process.stdout.readline()))
        process.send_signal(2)
        assert process.wait(20) == 130


def test_lag_without_kafka_redis_or_topics_is_one_line(site_of: Callable[..., Site]) -> None:
    site = site_of()
    limits = {"SURGEWATCH_KAFKA_TIMEOUT_MS": "1000"}
    for wrong, code, words in (
        ({"SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, 3, "cannot reach Kafka at"),
        ({"SURGEWATCH_REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "cannot reach Redis at"),
        ({"SURGEWATCH_TOPIC_WAVES": "nothing-here"}, 4, "topic nothing-here does not exist"),
    ):
        result = run(site, **limits, **wrong)
        assert (result.exit_code, result.stdout) == (code, "")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
