"""What is shipped beside the package: the lock, the Makefile, the compose file, the image."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from streams.core.keys import GROUP_KEYS
from streams.edges.redis_servers import PACKED
from streams.edges.settings_list import Settings

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_compose_has_kafka_redis_topics_and_two_workers(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"kafka", "redis", "topics", "worker-1", "worker-2"}


def test_compose_sets_only_settings_that_exist(compose: dict[str, Any]) -> None:
    known = {f"SURGEWATCH_{f.name.upper()}" for f in msgspec.structs.fields(Settings)}
    for name in ("topics", "worker-1", "worker-2"):
        assert set(compose["services"][name]["environment"]) <= known


def test_compose_starts_workers_after_topics_and_redis(compose: dict[str, Any]) -> None:
    for name in ("worker-1", "worker-2"):
        assert compose["services"][name]["depends_on"] == {
            "topics": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }


def test_compose_redis_keeps_its_data_and_never_evicts(compose: dict[str, Any]) -> None:
    command = compose["services"]["redis"]["command"]
    packed = [f"--{setting} {value}" for setting, value in PACKED.items()]
    for option in ("--appendonly yes", "--maxmemory-policy noeviction", *packed):
        assert option in command
    (entries,) = re.findall(r"--hash-max-listpack-entries (\d+)", command)
    assert int(entries) >= GROUP_KEYS


def test_compose_opens_ports_to_this_machine_only(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in {"root", "0"}


def test_lock_pins_and_hashes_every_package_and_names_no_index() -> None:
    text = (ROOT / "requirements-dev.txt").read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line[:1] not in ("", "#")]
    packages = [line for line in lines if not line.startswith(" ")]
    assert len(packages) > 50
    for line in packages:
        assert re.match(r"[\w.-]+==[\w.!]+( *;.*?)? +--hash=sha256:[0-9a-f]{64}", line), line
    assert not re.search(r"https?:|file:|--index|--extra-index|--find-links", text)


def test_make_help_names_every_command() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = {line.split()[1] for line in done.stdout.splitlines()}
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE)
    assert shown == set(commands)
    assert {"demo", "test", "bench", "bench-scaling", "chaos"} <= shown
