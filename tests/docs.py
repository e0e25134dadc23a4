"""Writes the documents that are made from code: ``python -m tests.docs``, which ``make docs`` does.

Not a test; ``tests/unit/test_metric_page.py`` and ``test_readme.py`` compare.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from streams.edges.metric_page import metrics_markdown
from streams.edges.settings_specs import settings_markdown
from tests.log_events import log_lines_markdown

ROOT: Final = Path(__file__).parents[1]


def documents() -> Mapping[Path, str]:
    """Each document, as it has to be."""
    readme = ROOT / "README.md"
    table = re.compile(r"(<!-- settings: .*? -->\n).*?(<!-- settings end -->)", re.DOTALL)
    told = readme.read_text(encoding="utf-8")
    logs = ROOT / "docs/logs.md"
    lines = re.compile(r"(<!-- lines: .*? -->\n).*?(<!-- lines end -->)", re.DOTALL)
    said = logs.read_text(encoding="utf-8")
    return {
        logs: lines.sub(lambda found: f"{found[1]}{log_lines_markdown()}{found[2]}", said),
        readme: table.sub(lambda found: f"{found[1]}{settings_markdown()}{found[2]}", told),
        ROOT / "docs/metrics.md": metrics_markdown(),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
