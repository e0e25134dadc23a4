"""Dashboards are what Grafana's own types of dashboards and panels allow: TypeScript checks it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import saying_what_is_missing
from tests.dashboard_lint import BOARDS, Json, panels_of
from tests.servers import ServerMissing

TESTS: Final = Path(__file__).parents[1]
OPTIONS_OF: Final = {
    "stat": "Stat",
    "timeseries": "TimeSeries",
    "bargauge": "BarGauge",
    "table": "Table",
    "heatmap": "Heatmap",
}
"""Names of the types of panels' options."""
PLAIN: Final = """\
// What JSON has where TypeScript has an enum: its value.
type Plain<T> = T extends string ? `${T}` : T extends readonly (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""


def types_folder() -> Path:
    """Where tests/provision.sh puts the types; raises ServerMissing where they are not."""
    lock = hashlib.sha256((TESTS / "grafana/package-lock.json").read_bytes()).hexdigest()
    cache = os.environ.get("SURGEWATCH_CACHE") or TESTS.parent / ".cache"
    folder = Path(cache) / f"grafana-types-{lock[:12]}"
    if not (folder / ".complete").exists():
        missing = "the types of Grafana's dashboards"
        raise ServerMissing(missing)
    return folder


def known(board: Json) -> Json:
    """As Grafana has it once it is read: the SDK writes some of what earlier ones have."""
    kept: Json = copy.deepcopy(board)
    kept.pop("style", None)
    for mark in kept["annotations"]["list"]:
        del mark["expr"], mark["titleFormat"], mark["tagKeys"]  # a data source's own
        del mark["target"]["expr"]
    for variable in kept["templating"]["list"]:
        for key in ("auto", "auto_min", "auto_count", "id"):
            variable.pop(key, None)
    for panel in panels_of(kept):
        if panel["type"] == "heatmap":
            tooltip = panel["options"]["tooltip"]
            tooltip["mode"] = "single" if tooltip.pop("show") else "none"
    without: Json = without_none(kept)
    return without


def without_none(value: Any) -> Any:
    """Drop what is null, but for a threshold's value, which stands for minus infinity."""
    if isinstance(value, Mapping):
        return {
            key: without_none(one)
            for key, one in value.items()
            if one is not None or key == "value"
        }
    return [without_none(one) for one in value] if isinstance(value, list) else value


def typescript_of(board: Json) -> str:
    """A program that is right if a dashboard, its panels' options and fields are of their types."""
    lines = ['import type { Dashboard } from "@grafana/schema";', PLAIN]
    lines.append(f"export const board: Plain<Dashboard> = {json.dumps(board, indent=1)};")
    for panel in panels_of(board):
        kind, number = panel["type"], panel["id"]
        module = f"{kind}/panelcfg/x/{OPTIONS_OF[kind]}PanelCfg_types.gen"
        values = {
            "Options": panel.get("options", {}),
            "FieldConfig": panel["fieldConfig"]["defaults"].get("custom"),
        }
        for name, value in values.items():
            if value is not None:
                lines += [
                    f"import type {{ {name} as {name}{number} }} from "
                    f'"@grafana/schema/dist/esm/raw/composable/{module}";',
                    f"export const of{name}{number}: Partial<Plain<{name}{number}>> = "
                    f"{json.dumps(value, indent=1)};",
                ]
    return "\n".join(lines)


def complaints_of(boards: Mapping[str, Json], folder: Path) -> str:
    """What the compiler finds wrong; nothing: all is of its type."""
    with saying_what_is_missing():
        types = types_folder()
    (compiler,) = types.glob("node_modules/@typescript/*/lib/tsc")
    (folder / "node_modules").symlink_to(types / "node_modules")
    for name, board in boards.items():
        (folder / f"{name}.ts").write_text(typescript_of(known(board)), encoding="utf-8")
    options = ("--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler")
    command = [str(compiler), *options, "--module", "esnext", *(f"{name}.ts" for name in boards)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode == 0) == (not done.stdout), done.stdout + done.stderr
    return done.stdout


def test_dashboards_are_of_grafanas_types(tmp_path: Path) -> None:
    assert complaints_of(BOARDS, tmp_path) == ""


def _defaults(board: Json, kind: str) -> Json:
    panel = next(one for one in panels_of(board) if one["type"] == kind)
    defaults: Json = panel["fieldConfig"]["defaults"]
    return defaults


def _options(board: Json, kind: str) -> Json:
    options: Json = next(one for one in panels_of(board) if one["type"] == kind)["options"]
    return options


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda board: board.update(titel="x"), "'\"titel\"' does not exist"),
        (lambda board: board.update(refresh=30), "'number' is not assignable"),
        (lambda board: _defaults(board, "stat").update(units="s"), "'\"units\"' does not exist"),
        (lambda board: _defaults(board, "stat")["color"].update(mode="red"), '"red"'),
        (
            lambda board: _defaults(board, "timeseries")["custom"].update(lineWdith=1),
            "'\"lineWdith\"' does not exist",
        ),
        (lambda board: _options(board, "timeseries")["legend"].update(placement="top"), '"top"'),
        (lambda board: _options(board, "stat").update(graphMode="lines"), '"lines"'),
        (lambda board: board["templating"]["list"][1].update(refresh=7), "'7' is not assignable"),
    ],
)
def test_a_misspelt_key_and_a_wrong_type_are_seen(
    wrong: Callable[[Json], None], said: str, tmp_path: Path
) -> None:
    board = copy.deepcopy(BOARDS["workers"])
    wrong(board)
    assert said in complaints_of({"wrong": board}, tmp_path)
