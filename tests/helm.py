"""Helm on our chart: what it renders, and what it says of values that are wrong."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart_files import CHART
from tests.servers import ServerMissing

PROVISION: Final = "tests/tools/provision.sh"
NAMESPACE: Final = "social"
RELEASE: Final = "surgewatch"

Values = Mapping[str, Any]
Resource = Mapping[str, Any]


def tool_of(name: str) -> str:
    """Path of a program that ``tests/tools`` builds; raises ServerMissing when there is none."""
    cache = os.environ.get("SURGEWATCH_CACHE") or Path(__file__).parent.parent / ".cache"
    path = Path(cache) / "tools" / name
    if not path.exists():
        raise ServerMissing(name, PROVISION)
    return str(path)


def helm(command: Sequence[str], values: Values, chart: Path = CHART) -> tuple[int, str, str]:
    """Run ``helm COMMAND CHART`` with these values; exit code, stdout, stderr."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        done = subprocess.run(
            [tool_of("helm"), *command, str(chart), "--values", file.name, "-n", NAMESPACE],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    return done.returncode, done.stdout, done.stderr


def rendered(values: Values, chart: Path = CHART) -> list[Resource]:
    """The objects that the chart makes of these values."""
    code, out, err = helm(["template", RELEASE], values, chart)
    assert code == 0, err
    return [one for one in yaml.safe_load_all(out) if one]


def refusal(values: Values) -> str:
    """What Helm says of values that it must refuse."""
    code, _, err = helm(["template", RELEASE], values)
    assert code != 0, "these values are taken"
    return err


def one_of(resources: Sequence[Resource], kind: str) -> Resource:
    """The only object of a kind."""
    (found,) = [one for one in resources if one["kind"] == kind]
    return found


def merged(base: Values, more: Values) -> dict[str, Any]:
    """Values with others on top, as Helm lays files over each other."""
    both = dict(base)
    for key, value in more.items():
        under = both.get(key)
        is_map = isinstance(value, Mapping) and isinstance(under, Mapping)
        both[key] = merged(under, value) if is_map else value  # type: ignore[arg-type]
    return both
