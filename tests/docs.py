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
from tests.chart_files import chart_files

ROOT: Final = Path(__file__).parents[1]


def documents() -> Mapping[Path, str]:
    """Each document, as it has to be."""
    readme = ROOT / "README.md"
    table = re.compile(r"(<!-- settings: .*? -->\n).*?(<!-- settings end -->)", re.DOTALL)
    told = readme.read_text(encoding="utf-8")
    return {
        readme: table.sub(lambda found: f"{found[1]}{settings_markdown()}{found[2]}", told),
        ROOT / "docs/metrics.md": metrics_markdown(),
        **chart_files(),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
