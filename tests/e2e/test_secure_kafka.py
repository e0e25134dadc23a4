"""Real Kafka and Redis with TLS, logins and rights: exact counts, and refusals in one line."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from streams.app.cli import main
from streams.edges.errors import KafkaRefusesUs, SettingsError, SurgewatchError
from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.producer import RecordProducer
from streams.edges.kafka.rights import check_rights
from streams.edges.kafka.surge_topic import SurgeTopicReader
from streams.edges.kafka.topics import check_topics, topic_configs, topic_plans
from streams.edges.settings.reading import read_settings
from tests.certificates import EXPIRED, Authority
from tests.e2e.secure_stage import SecureSite, SecureStage
from tests.kafka_rights import Right, documented_rights, give, take
from tests.secure_servers import USER
from tests.sender import Sender, assert_exact
from tests.workers import Site, WorkerProcess, wait_until

Variables = Mapping[str, str]
WORKER = f"User:{USER}"


def command(environ: Variables, *arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner(env=environ).invoke(main, arguments)


def surgewatch(environ: Variables, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as a process."""
    command = [sys.executable, "-m", "streams.app.cli", *arguments]
    env = {**os.environ, **environ}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_worker_with_the_documented_rights_counts_exactly(
    stage: SecureStage, start: Callable[[Site, str], WorkerProcess], tmp_path: Path
) -> None:
    eyes = stage.eyes(tmp_path)
    with Redis.from_url(stage.redis.url) as admin:
        admin.acl_log_reset()  # what others may not do, such as doctor's questions
    sender = Sender(eyes, 10_000)
    asyncio.run(sender.send(0.5))
    worker = start(SecureSite("", "", "", tmp_path, stage.environ()), "worker")
    asyncio.run(sender.send(0.5))
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)
    ends = {name: end for name, end in worker.metrics().items() if "certificate_expiry" in name}
    assert len(ends) >= 2, ends
    assert min(ends.values()) > time.time()
    asyncio.run(eyes.surges(lambda found: len(found) > 3))
    listed = command(stage.environ("surgewatch-reader"), "surges", "--json")
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.count('"surge_id"') > 3
    not_listed = command(stage.environ(), "surges")
    assert (not_listed.exit_code, not_listed.stdout) == (3, ""), not_listed.output
    assert "may not read topic surges" in not_listed.stderr, not_listed.stderr
    with Redis.from_url(stage.redis.url) as admin:
        log = admin.acl_log()
        refused = {one["object"] for one in log}
    assert refused <= {"config|get"}, log
    assert worker.stop() == 0, worker.text()
    assert "ERROR" not in worker.text()
    counts = command(stage.environ(), "counts", "--all", "--json")
    assert counts.exit_code == 0, counts.output
    series = sender.ledger.buckets
    creators = series["follows"].keys() | series["unfollows"].keys() | series["comments"].keys()
    assert len(counts.stdout.splitlines()) == len(creators)


def test_every_command_works_with_the_rights_of_its_user(
    stage: SecureStage, tmp_path: Path
) -> None:
    producer, admin = stage.environ("surgewatch-producer"), stage.environ("surgewatch-admin")
    follows = tmp_path / "follows.ndjson"
    assert command(admin, "topics", "create").exit_code == 0
    checked = command(admin, "topics", "check")
    assert checked.exit_code == 0, checked.output
    sent = command(producer, "simulate", "--creators", "20", "--hours", "1")
    assert sent.exit_code == 0, sent.output
    written = command(
        {}, "simulate", "--creators", "20", "--hours", "1", "--follows-out", str(follows)
    )
    assert written.exit_code == 0, written.output
    replayed = command(producer, "replay", "--follows", str(follows))
    assert replayed.exit_code == 0, replayed.output
    with pytest.raises(SurgewatchError, match="may not read topic"):  # no worker's right
        asyncio.run(_read_surges(stage.environ()))


async def _read_surges(environ: Variables) -> None:
    async with SurgeTopicReader(read_settings(environ)) as reader:
        for partition, span in (await reader.spans()).items():
            async for _ in reader.records(partition, span._replace(end=span.begin + 1)):
                return


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
def test_other_mechanisms_work_too(stage: SecureStage, mechanism: str) -> None:
    settings = read_settings(stage.environ() | {"SURGEWATCH_KAFKA_SASL_MECHANISM": mechanism})
    check_rights(settings)
    asyncio.run(_connect(stage.environ() | {"SURGEWATCH_KAFKA_SASL_MECHANISM": mechanism}))


async def _connect(environ: Variables) -> None:
    async with RecordProducer(read_settings(environ)):
        pass


def with_certificate(stage: SecureStage, certificate: Path | None, **more: str) -> Variables:
    environ = {k: v for k, v in stage.environ().items() if "SASL" not in k}
    environ["SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS"] = stage.kafka.certificate
    environ["SURGEWATCH_KAFKA_SECURITY_PROTOCOL"] = "SSL"
    if certificate is not None:
        environ["SURGEWATCH_KAFKA_SSL_CERTFILE"] = str(certificate)
    return environ | more


def test_a_certificate_is_a_login_too_also_with_an_encrypted_key(stage: SecureStage) -> None:
    # the certificate's name is the user whose rights were given
    certificate = stage.authority.issue(USER, USER, password="key's word")
    word = {"SURGEWATCH_KAFKA_SSL_KEY_PASSWORD": "key's word"}
    environ = with_certificate(stage, certificate, **word)
    check_rights(read_settings(environ))
    assert check_topics(read_settings(environ)) == []
    asyncio.run(_connect(environ))


@pytest.mark.parametrize("right", [one for one in documented_rights() if one.principal == WORKER])
def test_without_one_of_its_rights_a_worker_does_not_begin_and_says_which(
    stage: SecureStage, right: Right
) -> None:
    settings = read_settings(stage.environ())
    with admin_client(stage.eyes(stage.folder).settings) as admin:
        take(admin, right)
        try:
            if right.operation == "DescribeConfigs":
                assert unread_topics(stage) == {right.name}
                return
            with pytest.raises(KafkaRefusesUs) as caught:
                check_rights(settings)
        finally:
            give(admin, [right])
    assert f"({right.operation} on {right.kind} {right.name})" in str(caught.value)
    assert "docs/security.md" in str(caught.value)


def unread_topics(stage: SecureStage) -> set[str]:
    """Topics whose configuration the worker's user cannot see: it then goes unchecked."""
    settings = read_settings(stage.environ())
    names = [plan.name for plan in topic_plans(settings)]
    with admin_client(settings) as admin:
        found = topic_configs(admin, names)
    return {name for name in names if not found.get(name)}


def test_a_topic_that_the_user_may_not_see_is_told_as_such(stage: SecureStage) -> None:
    findings = check_topics(read_settings(stage.environ("surgewatch-producer")))
    assert {finding.topic for finding in findings} == {"surges", "dead-letters", "waves"}
    assert all("may not see it" in finding.fix for finding in findings)


def wrong_ways(stage: SecureStage, other: Authority) -> dict[str, dict[str, str]]:
    """What a line must say, and the variables with which it must say so."""
    server, protocol = "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS", "SURGEWATCH_KAFKA_SECURITY_PROTOCOL"
    cafile = "SURGEWATCH_KAFKA_SSL_CAFILE"
    return {
        "wrong user name or password": {"SURGEWATCH_KAFKA_SASL_USERNAME": "nobody"},
        "an authority that is not trusted here: see kafka_ssl_cafile": {cafile: str(other.cafile)},
        "for another host name, not 127.0.0.1": {
            server: stage.kafka.login.replace("localhost", "127.0.0.1")
        },
        "its certificate has expired, or one above it": {server: stage.kafka.expired},
        "it speaks TLS at this address: see kafka_security_protocol": {protocol: "SASL_PLAINTEXT"},
        "it does not speak TLS at this address: see kafka_security_protocol": {
            server: stage.kafka.bootstrap
        },
        "as we asked without a login: does it want one?": {protocol: "SSL"},
        "it wants no login here: see kafka_security_protocol": {
            server: stage.kafka.bootstrap,
            protocol: "SASL_PLAINTEXT",
        },
    }


def assert_refused(environ: Variables, words: str) -> None:
    """The admin's client and the producer both end with the same cause."""
    settings = read_settings(environ)
    with pytest.raises(KafkaRefusesUs) as caught:
        check_topics(settings)
    line = str(caught.value)
    assert words in line, line
    assert "\n" not in line
    assert (caught.value.exit_code, caught.value.retry) == (3, False)
    with pytest.raises(KafkaRefusesUs) as caught:
        asyncio.run(_connect(environ))
    assert str(caught.value) == line


def test_each_wrong_way_to_speak_to_it_is_told_in_one_line(
    stage: SecureStage, tmp_path: Path
) -> None:
    for words, more in wrong_ways(stage, Authority(tmp_path, "other")).items():
        assert_refused(stage.environ() | more, words)


def test_certificates_that_are_not_taken_are_told(stage: SecureStage, tmp_path: Path) -> None:
    foreign = Authority(tmp_path, "foreign").issue("stranger", "stranger")
    for certificate in (None, foreign):
        assert_refused(with_certificate(stage, certificate), "see kafka_ssl_certfile")
    expired = stage.authority.issue("worker-expired", "worker", not_after=EXPIRED)
    with pytest.raises(SettingsError, match=r"kafka_ssl_certfile = .* expired on .*: renew it"):
        check_topics(read_settings(with_certificate(stage, expired)))


def test_a_worker_that_is_refused_ends_at_once_with_one_line(
    stage: SecureStage,
) -> None:
    cases = {
        "wrong user name or password: see kafka_sasl": (3, {"SURGEWATCH_KAFKA_SASL_USERNAME": "x"}),
        "redis_ssl_cafile = /none: cannot be read": (2, {"SURGEWATCH_REDIS_SSL_CAFILE": "/none"}),
    }
    for words, (exit_code, more) in cases.items():
        ended = surgewatch(stage.environ() | more, "worker")
        assert ended.returncode == exit_code, ended.stderr
        told = [line for line in ended.stderr.splitlines() if line.startswith("surgewatch: ")]
        assert len(told) == 1, ended.stderr
        assert words in told[0]
        assert "Traceback" not in ended.stderr
        assert "waiting" not in ended.stderr
