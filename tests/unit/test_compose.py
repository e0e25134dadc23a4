"""The compose file and the Dockerfile, as far as no engine is needed.

``make test-containers`` runs them for real: tests/containers.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import msgspec
import pytest
import trustme
import yaml
from prometheus_client import CollectorRegistry

from deploy import healthcheck
from deploy.local import receiver
from streams.app.simulate.command import simulate
from streams.core.records.keys import GROUP_KEYS
from streams.edges.metrics.exporter import Exporter
from streams.edges.process.health import Health
from streams.edges.redis.servers import PACKED
from streams.edges.settings.list import Settings
from tests.alertmanager import CONFIGURATION as ALERTMANAGER
from tests.conftest import program_or_say, saying_what_is_missing
from tests.containers.compose_file import COMPOSE, ROOT, compose_spec_program
from tests.servers import KAFKA_VERSION

OURS = {"topics", "worker-1", "worker-2", "simulator", "docs", "receiver"}
Services = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def services() -> Services:
    found = yaml.safe_load(COMPOSE.read_text())["services"]
    assert isinstance(found, dict)
    return found


def test_compose_has_all_that_is_looked_at_and_woken_by(services: Services) -> None:
    others = {"kafka", "redis", "prometheus", "alertmanager", "grafana"}
    assert set(services) == OURS | others
    assert [name for name, one in services.items() if "profiles" in one] == ["simulator"]


def test_compose_sets_only_settings_that_exist(services: Services) -> None:
    known = {f"SURGEWATCH_{f.name.upper()}" for f in msgspec.structs.fields(Settings)}
    for name in OURS:
        assert set(services[name]["environment"]) <= known


def test_compose_starts_workers_after_topics_and_redis(services: Services) -> None:
    for name in ("worker-1", "worker-2"):
        assert services[name]["depends_on"] == {
            "topics": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }


def test_compose_redis_keeps_its_data_and_never_evicts(services: Services) -> None:
    command = services["redis"]["command"]
    packed = [f"--{setting} {value}" for setting, value in PACKED.items()]
    limits = ("--maxmemory 2gb", "--maxmemory-policy noeviction")
    for option in ("--appendonly yes", "--appendfsync everysec", *limits, *packed):
        assert option in command
    (entries,) = re.findall(r"--hash-max-listpack-entries (\d+)", command)
    assert int(entries) >= GROUP_KEYS
    assert services["redis"]["mem_limit"] == "4g", "twice its data: a rewrite copies"


def test_compose_opens_ports_to_this_machine_only_and_each_once(services: Services) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    parts = [port.split(":") for port in ports]
    assert all(len(part) == 3 and ipaddress.ip_address(part[0]).is_loopback for part in parts)
    assert len({outside for _, outside, _ in parts}) == len(parts) >= 8


def test_every_service_is_hardened_and_limited(services: Services) -> None:
    for name, one in services.items():
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert "cap_add" not in one, name
        assert "privileged" not in one, name
        assert one["mem_limit"], name
        assert one["pids_limit"], name
        assert one["logging"]["options"]["max-size"], name


def test_roots_that_can_be_read_only_are(services: Services) -> None:
    writing = {name for name, one in services.items() if not one.get("read_only")}
    assert writing == {"kafka", "grafana"}, "they write settings and plugins beside their data"
    for name in OURS:
        assert services[name]["tmpfs"] == ["/tmp:size=64m,mode=1777,noexec,nosuid,nodev"]


def test_images_of_others_name_a_version_and_are_not_built(services: Services) -> None:
    for name in services.keys() - OURS:
        assert re.search(r":v?\d+\.\d+\.\d+$", services[name]["image"]), name
        assert services[name]["pull_policy"] == "missing", name
        assert "build" not in services[name]
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_our_image_is_made_here_and_never_pulled(services: Services) -> None:
    for name in OURS:
        assert services[name]["image"] == "surgewatch"
        assert services[name]["pull_policy"] == "never"
    (one,) = [one for one in services.values() if "build" in one]
    assert one["build"] == {"context": ".", "dockerfile": "deploy/Dockerfile"}
    assert one is services["topics"], "which all of ours wait for"


def test_mounted_files_exist_and_are_read_only(services: Services) -> None:
    names = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for service in services.values():
        for mount in service.get("volumes", []):
            source, _, rest = mount.partition(":")
            if source in names:
                continue
            assert (ROOT / source).exists(), source
            assert rest.endswith(":ro"), mount


def test_prometheus_scrapes_both_workers_and_links_to_what_is_served(services: Services) -> None:
    config = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())
    itself, job = config["scrape_configs"]
    assert itself["job_name"] == "prometheus", "whether its alerts are taken is its own metric"
    assert job["job_name"] == "surgewatch"
    assert job["static_configs"] == [{"targets": ["worker-1:9464", "worker-2:9464"]}]
    (manager,) = config["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    urls = config["global"]["external_labels"]
    for label, name in (("docs_url", "docs"), ("grafana_url", "grafana")):
        (port,) = services[name]["ports"]
        assert urls[label] == f"http://localhost:{port.split(':')[1]}"


@pytest.mark.parametrize("path", ["deploy/compose/prometheus.yml", "deploy/local/prometheus.yml"])
def test_prometheus_takes_its_configuration(path: str) -> None:
    is_local = "local" in path  # else its files are where the container has them
    command = [program_or_say("promtool"), "check", "config"]
    command += [path] if is_local else ["--syntax-only", path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rule_files = [*(ROOT / "deploy/prometheus").glob("*.yml")]
    assert done.stdout.count("rules found") == len(rule_files) * is_local


def test_notifications_go_to_a_service_that_shows_them(services: Services) -> None:
    assert services["receiver"]["network_mode"] == "service:alertmanager"
    addresses = re.findall(r"http://127\.0\.0\.1:(\d+)/", ALERTMANAGER.read_text())
    assert {int(port) for port in addresses} == {receiver.PORT}


def test_the_receiver_prints_whom_a_notification_is_for_and_its_links() -> None:
    command = ["python3", "-I", "-S", str(ROOT / "deploy/local/receiver.py"), "0"]
    labels = {"alertname": "SurgewatchA", "severity": "page", "job": "surgewatch", "kind": "wave"}
    annotations = {"summary": "A wave\x1b[2J", "runbook_url": "http://localhost:8000/runbooks/A.md"}
    alert = {"status": "firing", "labels": labels, "annotations": annotations}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2]
        request = urllib.request.Request(f"{url}/pager", json.dumps({"alerts": [alert]}).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        for wrong in (b"no json", b"[]", b'{"alerts": [1]}'):
            with pytest.raises(HTTPError, match="400"):
                urllib.request.urlopen(f"{url}/pager", wrong, timeout=10)
        process.send_signal(signal.SIGINT)
        shown = process.stdout.read().splitlines()
        assert process.wait(10) == 0
    assert shown == [
        r"'to pager: firing: SurgewatchA (page): A wave\x1b[2J [kind=wave]'",
        "    http://localhost:8000/runbooks/A.md",
        "ended",
    ]


def test_the_simulators_options_exist(services: Services) -> None:
    name, *options = services["simulator"]["command"].split()
    assert name == "simulate"
    simulate.make_context("simulate", options)


def test_hadolint_finds_nothing() -> None:
    lint("hadolint", "deploy/Dockerfile")
    # Stand-ins take what Debian has now, and are thrown away.
    ignored = [f"--ignore={rule}" for rule in ("DL3008", "DL3009", "DL3066")]
    lint("hadolint", *ignored, "tests/containers/images/Dockerfile")


def test_yamllint_finds_nothing() -> None:
    folders = ("deploy/compose", "deploy/local", "tests/containers")
    lint("yamllint", "--strict", "docker-compose.yml", *folders)


def lint(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [ROOT / ".venv/bin" / program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_can_read_the_file(services: Services) -> None:
    done = compose_spec(COMPOSE)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(yaml.safe_load(done.stdout)["services"]) == set(services)
    for one in services.values():
        assert set(one.get("depends_on", ())) <= set(services)


def test_compose_refuses_a_file_with_a_misspelt_key(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(COMPOSE.read_text().replace("stop_signal:", "stop_signl:"))
    done = compose_spec(path)
    assert done.returncode == 1
    assert "'stop_signl' not allowed" in done.stderr + done.stdout


def compose_spec(path: Path) -> subprocess.CompletedProcess[str]:
    """Have the file read by what Compose reads files with."""
    with saying_what_is_missing():
        program = compose_spec_program()
    command = [str(program), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_image_runs_as_a_number_that_is_not_root_and_nothing_in_it_builds() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    final = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", final, re.MULTILINE) == ["10001:10001"]
    assert not re.findall(r"^RUN ", final, re.MULTILINE), "what runs there is no same bytes twice"
    assert "--mount" not in text, "the classic builder has none"


def test_what_is_sent_to_the_builder_is_what_the_dockerfile_copies() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert kept == {source for sources in copied for source in sources.split()}
    assert ignored[0] == "*"


def test_health_check_says_whether_the_worker_is_ready_and_why_not() -> None:
    health = Health(0.0, 120.0)
    with Exporter(CollectorRegistry(), health, lambda: 1.0) as exporter:
        port = exporter.start("127.0.0.1", 0)
        reason = healthcheck.unready_reason("127.0.0.1", port)
        assert reason == "it has not joined the consumer group yet"
        health.assigned(0.0, 4)
        health.reached_redis()
        health.loaded()
        assert healthcheck.unready_reason("127.0.0.1", port) is None
    gone = healthcheck.unready_reason("127.0.0.1", port)
    assert gone is not None
    assert gone.startswith(f"nobody answers at 127.0.0.1:{port}: ")


def test_health_check_speaks_tls_where_the_worker_does() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    def answer() -> None:
        connection, _ = server.accept()
        with context.wrap_socket(connection, server_side=True) as speaking:
            speaking.recv(4096)
            speaking.sendall(b"HTTP/1.0 200 OK\r\n\r\nok\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        assert healthcheck.unready_reason("127.0.0.1", server.getsockname()[1], tls=True) is None
        thread.join()


def test_health_check_needs_nothing_of_the_site() -> None:
    command = ["python3", "-I", "-S", str(ROOT / "deploy/healthcheck.py")]
    environ = {**os.environ, "SURGEWATCH_METRICS_PORT": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("nobody answers at 127.0.0.1:1: ")
