"""Writes the documents that are made from code: ``python -m tests.docs``, which ``make docs`` does.

Not a test; ``tests/unit/test_metric_page.py`` and ``test_readme.py`` compare.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.grafana.build import dashboards
from deploy.grafana.page import panels_markdown
from streams.app.doctor.checks import checks_markdown
from streams.edges.metrics.page import metrics_markdown
from streams.edges.settings.specs import settings_markdown
from tests.chart_files import chart_files
from tests.log_events import log_lines_markdown

ROOT: Final = Path(__file__).parents[1]


def documents() -> Mapping[Path, str]:
    """Each document, as it has to be."""
    tables = {
        "README.md": ("settings", settings_markdown()),
        "docs/dashboards.md": ("panels", panels_markdown()),
        "docs/logs.md": ("lines", log_lines_markdown()),
        "docs/doctor.md": ("checks", checks_markdown()),
    }
    boards = dashboards()
    return {
        **{ROOT / path: _filled(ROOT / path, *made) for path, made in tables.items()},
        ROOT / "docs/metrics.md": metrics_markdown(),
        ROOT / "streams/edges/metrics/rule_names.txt": rule_names(),
        **boards,
        **chart_files(boards),
    }


def _filled(path: Path, name: str, made: str) -> str:
    """A document with its part of this name made anew."""
    part = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- {name} end -->)", re.DOTALL)
    told = path.read_text(encoding="utf-8")
    return part.sub(lambda found: f"{found[1]}{made}{found[2]}", told)


def rule_names() -> str:
    """Names of all alerts and records in deploy/prometheus, a line each: doctor looks for them."""
    files = [ROOT / "deploy/prometheus" / name for name in ("alerts.yml", "recording.yml")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    found = re.findall(r"^\s*- (?:alert|record): (\S+)$", "\n".join(texts), re.MULTILINE)
    return "".join(f"{name}\n" for name in sorted(found))


if __name__ == "__main__":
    for path, text in documents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
