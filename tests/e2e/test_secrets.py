"""No secret shows anywhere: output and logs of every command, process lists, metrics, errors."""

from __future__ import annotations

import base64
import os
import re
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import HTTPError

import pytest
from click.testing import CliRunner

from streams.app.cli import COMMANDS, main
from tests.conftest import start_or_say
from tests.e2e.secure_stage import SecureSite, SecureStage
from tests.prometheus import PrometheusServer
from tests.secure_servers import PASSWORD, USER
from tests.workers import Site, WorkerProcess, wait_until

MARK = "marked-secret"
METRICS_USER = "prometheus"
METRICS_PASSWORD = f"{MARK} of metrics"
Start = Callable[[Site, str], WorkerProcess]


def environ_of(stage: SecureStage, **more: str) -> dict[str, str]:
    """Variables of a worker with every kind of secret, at the level that tells most."""
    folder = stage.folder
    (folder / "metrics-password").write_text(f"{METRICS_PASSWORD}\n")
    (folder / "key-password").write_text(f"{MARK} of the key\n")
    key = stage.authority.issue(USER, USER, password=f"{MARK} of the key")
    secure = {
        "KAFKA_SSL_CERTFILE": str(key),
        "KAFKA_SSL_KEY_PASSWORD_FILE": str(folder / "key-password"),
        "REDIS_SSL_CERTFILE": str(key),
        "REDIS_SSL_KEY_PASSWORD_FILE": str(folder / "key-password"),
        "METRICS_SSL_CERTFILE": str(stage.authority.issue("metrics", "localhost")),
        "METRICS_USERNAME": METRICS_USER,
        "METRICS_PASSWORD_FILE": str(folder / "metrics-password"),
        "LOG_LEVEL": "debug",
    }
    return stage.environ() | {f"SURGEWATCH_{name}": text for name, text in secure.items()} | more


def inline(environ: Mapping[str, str]) -> dict[str, str]:
    """The same with the secrets in the variables themselves."""
    return {
        name.removesuffix("_FILE"): Path(text).read_text().strip() if "_FILE" in name[-5:] else text
        for name, text in environ.items()
    }


def metrics_of(stage: SecureStage, port: str, page: str, login: str = "") -> str:
    request = urllib.request.Request(f"https://localhost:{port}/{page}")
    if login:
        encoded = base64.b64encode(login.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    context = ssl.create_default_context(cafile=stage.authority.cafile)
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return str(answer.read(), "utf-8")


def port_of(worker: WorkerProcess) -> str:
    wait_until(lambda: "metrics on https://" in worker.text(), 60, worker.text)
    (port,) = re.findall(r"metrics on https://127\.0\.0\.1:(\d+)/metrics", worker.text())
    return str(port)


def is_ready(stage: SecureStage, port: str) -> bool:
    try:
        return metrics_of(stage, port, "readyz") == "ok\n"
    except HTTPError:
        return False


def test_a_worker_shows_no_secret_and_prometheus_scrapes_it_with_a_login(
    stage: SecureStage, start: Start, tmp_path: Path
) -> None:
    worker = start(SecureSite("", "", "", tmp_path, environ_of(stage)), "worker")
    port = port_of(worker)
    wait_until(lambda: is_ready(stage, port), 60, worker.text)  # a probe needs no login
    with pytest.raises(HTTPError, match="401"):
        metrics_of(stage, port, "metrics")
    shown = metrics_of(stage, port, "metrics", f"{METRICS_USER}:{METRICS_PASSWORD}")
    assert "surgewatch_build_info" in shown
    process = Path(f"/proc/{worker._process.pid}")
    shown += (process / "cmdline").read_text() + (process / "environ").read_text()
    assert MARK not in shown
    assert_prometheus_scrapes(stage, tmp_path, port)
    assert worker.stop() == 0, worker.text()
    assert "DEBUG" in worker.text()
    assert MARK not in worker.text()
    assert PASSWORD not in worker.text()


def assert_prometheus_scrapes(stage: SecureStage, folder: Path, port: str) -> None:
    login = {"username": METRICS_USER, "password_file": str(stage.folder / "metrics-password")}
    scrape = {
        "scheme": "https",
        "tls_config": {"ca_file": str(stage.authority.cafile)},
        "basic_auth": login,
    }
    prometheus = PrometheusServer(folder / "right", [f"localhost:{port}"], {}, scrape=scrape)
    up = 'up{job="surgewatch"}'
    try:
        start_or_say(prometheus)
        wait_until(lambda: 1.0 in prometheus.values(up).values(), 30, "it is scraped")
        assert prometheus.values("surgewatch_build_info")
    finally:
        prometheus.stop()


def commands() -> list[list[str]]:
    """One or more uses of every command but ``worker`` and ``demo``, which take long."""
    return [
        ["config"],
        ["config", "--json"],
        ["topics", "create"],
        ["topics", "check", "--json"],
        ["counts", "--all", "--json"],
        ["lag"],
        ["surges", "--json"],
        ["dead-letters", "list"],
        ["state", "export", "--out", "state.backup"],
        ["state", "import", "state.backup"],
        ["doctor"],
        ["doctor", "--json"],
        ["simulate", "--creators", "2", "--hours", "1"],
        ["replay", "--follows", "none.ndjson"],
        ["backtest", "--follows", "none.ndjson"],
        ["score", "none.csv"],
    ]


def test_every_command_is_looked_at() -> None:
    assert {command[0] for command in commands()} | {"worker", "demo"} == set(COMMANDS)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_shows_no_secret_whatever_it_says(
    stage: SecureStage, command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for environ in (environ_of(stage), inline(environ_of(stage))):
        result = CliRunner(env=environ).invoke(main, ["--debug", *command])
        assert result.exit_code in {0, 2, 3, 4}, result.output
        assert MARK not in result.output
    if command == ["config"]:
        assert "***" in result.output


@pytest.mark.parametrize(
    "more",
    [
        {"REDIS_URL": "rediss://surgewatch:marked-secret@localhost:1/0"},
        {"REDIS_URL": "rediss://surgewatch:marked-secret@nowhere.invalid:6379/0"},
        {"REDIS_URL": "rediss://surgewatch:marked-secret/1@localhost:1/0"},
        {"REDIS_URL": "rediss://:marked-secret"},
        {"REDIS_URL": "http://surgewatch:marked-secret@localhost"},
        {"REDIS_URL": "redis-cluster://surgewatch:marked-secret@localhost:1"},
        {"REDIS_URL": "redis://localhost:1/0?password=marked-secret"},
        {"TRACES_ENDPOINT": "http://localhost:1/v1/traces?api_key=marked-secret"},
        {"TRACES_ENDPOINT": "http://marked-secret@localhost:1/v1/traces"},
        {"TRACES_ENDPOINT": "localhost:1/v1/traces?api_key=marked-secret"},
        {"REDIS_PASSWORT": "marked-secret"},
        {"METRICS_PASSWORD": "marked-secret"},
        {"KAFKA_SASL_PASSWORD": "marked-secret", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
    ],
    ids=str,
)
def test_an_error_shows_no_secret(more: dict[str, str]) -> None:
    environ = {f"SURGEWATCH_{name}": text for name, text in more.items()}
    environ["SURGEWATCH_REDIS_TIMEOUT_MS"] = "300"
    for command in (["config"], ["counts", "--all"], ["topics", "check"]):
        if command == ["topics", "check"] and "KAFKA_SASL_PASSWORD" not in more:
            continue
        result = CliRunner(env=environ).invoke(main, ["--debug", *command])
        assert MARK not in result.output
        assert MARK not in repr(result.exception)


def test_what_the_mark_is_looked_for_in_would_show_it(tmp_path: Path) -> None:
    shown = CliRunner(env={**os.environ, "SURGEWATCH_REDIS_PREFIX": MARK}).invoke(main, ["config"])
    assert MARK in shown.output
