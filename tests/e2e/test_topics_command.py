"""The commands topics create and topics check on a real Kafka."""

import json
from collections.abc import Callable

from click.testing import CliRunner, Result

from streams.app.cli import main
from tests.servers import KafkaServer


def test_topics_are_created_once_and_checked(
    kafka: KafkaServer, fresh_name: Callable[[str], str]
) -> None:
    roles = ("follows", "comments", "surges", "dead-letters", "waves")
    names = {role: fresh_name(role) for role in roles}
    environ = {"SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap}
    for role, name in names.items():
        environ[f"SURGEWATCH_TOPIC_{role.replace('-', '_').upper()}"] = name

    def run(*arguments: str, **more: str) -> Result:
        return CliRunner(env=environ | more).invoke(main, ["topics", *arguments])

    missing = run("check")
    assert missing.exit_code == 4
    assert missing.stderr == "surgewatch: 5 things differ in the topics\n"
    assert f"{names['follows']}\tit does not exist\tmake it with" in missing.stdout

    made = run("create")
    assert made.exit_code == 0, made.output
    assert made.stdout.splitlines()[1:] == [f"{name}\t4\tcreated" for name in names.values()]
    again = [json.loads(line) for line in run("create", "--json").stdout.splitlines()]
    assert [(one["topic"], one["created"]) for one in again] == [
        (name, False) for name in names.values()
    ]

    fine = run("check")
    assert fine.exit_code == 0, fine.output
    assert fine.stdout == f"all as they must be: {', '.join(names.values())}\n"
    assert run("check", "--json").stdout == ""

    other = run("check", "--json", SURGEWATCH_TOPIC_PARTITIONS="8")
    assert other.exit_code == 4
    findings = [json.loads(line) for line in other.stdout.splitlines()]
    assert [one["topic"] for one in findings] == list(names.values())
    assert all(one["blocks"] and "4 partitions, not 8" in one["problem"] for one in findings)
