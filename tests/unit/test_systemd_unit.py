"""The systemd unit: systemd itself reads it, finds it hard, and it says what the worker does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from streams.app.cli import COMMANDS
from streams.edges.process.health import STOP_SECONDS_MAX
from streams.edges.settings.list import Settings
from streams.edges.settings.reading import read_settings
from streams.edges.settings.specs import SPECS
from tests.conftest import program_or_say

FOLDER: Final = Path(__file__).parents[2] / "deploy/systemd"
UNIT: Final = FOLDER / "surgewatch@.service"
SECRETS: Final = FOLDER / "surgewatch-secrets.conf"
ENVIRONMENT: Final = FOLDER / "surgewatch.env"
PROGRAM: Final = "/opt/surgewatch/bin/surgewatch"
EXPOSURE_MAX: Final = 15
"""In systemd's tenths: 1.5 of 10; a service with nothing set has 9.6."""


def installed(folder: Path, text: str) -> Path:
    """The unit as an instance, its program one that this machine has."""
    path = folder / "surgewatch@9464.service"
    path.write_text(text.replace(PROGRAM, "/bin/true"))
    return path


def analyze(*arguments: str) -> tuple[int, str]:
    command = [program_or_say("systemd-analyze"), "--no-pager", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def option(name: str, text: str | None = None) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text or UNIT.read_text(), re.MULTILINE)


def environ_of(text: str) -> dict[str, str]:
    return dict(one.split("=", 1) for line in option("Environment", text) for one in line.split())


def test_systemd_reads_the_unit_and_finds_nothing(tmp_path: Path) -> None:
    assert analyze("verify", str(installed(tmp_path, UNIT.read_text()))) == (0, "")


def test_systemd_sees_a_fault(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("ProtectHome=", "ProtectHomes=")
    assert "ProtectHomes" in analyze("verify", str(installed(tmp_path, text)))[1]


def test_systemd_finds_the_unit_hard(tmp_path: Path) -> None:
    asked = ("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}")
    code, told = analyze(*asked, str(installed(tmp_path, UNIT.read_text())))
    assert code == 0, told
    soft = re.sub(r"^(Protect|Restrict|Private|System).*\n", "", UNIT.read_text(), flags=re.M)
    assert analyze(*asked, str(installed(tmp_path, soft)))[0] != 0


def test_it_runs_the_worker_and_nothing_whose_end_would_be_tried_for_ever() -> None:
    assert option("ExecStart") == [f"{PROGRAM} worker"]
    assert "worker" in COMMANDS
    assert option("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    # RestartPreventExitStatus is for the main process alone (seen under a real systemd)
    assert option("ExecStartPre") == []


def test_its_variables_are_settings_and_name_one_worker_of_many() -> None:
    text = UNIT.read_text().replace("%i", "9465").replace("%H", "host.example")
    ours = {k: v for k, v in environ_of(text).items() if k.startswith("SURGEWATCH_")}
    settings = read_settings(ours)
    assert (settings.metrics_port, settings.kafka_instance_id) == (9465, "host.example-9465")


def test_the_file_of_settings_can_be_read() -> None:
    lines = [line for line in ENVIRONMENT.read_text().splitlines() if not line.startswith("#")]
    settings = read_settings(dict(line.split("=", 1) for line in lines))
    assert settings.kafka_session_timeout_ms > Settings().kafka_session_timeout_ms
    (wanted,) = option("EnvironmentFile")
    assert wanted == f"/etc/surgewatch/{ENVIRONMENT.name}"


def test_passwords_are_credentials(tmp_path: Path) -> None:
    text = SECRETS.read_text()
    credentials = [one.split(":")[0] for one in option("LoadCredential", text)]
    assert set(credentials) <= {spec.name for spec in SPECS.values() if spec.secret}
    assert {"redis_password", "kafka_sasl_password"} <= set(credentials)
    for name in credentials:
        (tmp_path / name).write_text(f"the {name}\n")
    environ = environ_of(text.replace("%d", str(tmp_path)))
    settings = read_settings(environ)
    assert {name: getattr(settings, name) for name in credentials} == {
        name: f"the {name}" for name in credentials
    }
    unit = tmp_path / "with"
    unit.mkdir()
    both = UNIT.read_text().replace("\n[Install]", text.split("[Service]")[1] + "\n[Install]")
    assert analyze("verify", str(installed(unit, both))) == (0, "")


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        # its own watchdog comes first: it prints all stacks
        ("WatchdogSec", 10, Settings().watchdog_seconds / 2),
        # waiting for Kafka and Redis is part of a start
        ("TimeoutStartSec", 2 * Settings().start_seconds_max, 600),
        # and so it does where stopping hangs
        ("TimeoutStopSec", STOP_SECONDS_MAX + 10, 120),
    ],
)
def test_its_times_go_with_the_workers(name: str, least: float, most: float) -> None:
    (value,) = option(name)
    assert least <= int(value) <= most


def test_metrics_of_the_process_can_be_read() -> None:
    # prometheus-client tells none where /proc/stat cannot be read (seen under a real systemd)
    assert option("ProcSubset") == []


def test_wrong_settings_are_not_tried_again_and_all_else_is() -> None:
    assert option("Restart") == ["always"]
    assert option("RestartPreventExitStatus") == ["2"]
    assert option("StartLimitIntervalSec") == ["0"]
