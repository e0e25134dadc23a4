"""What the pages of documentation lead to is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
PICTURE_BYTES_MAX: Final = 200_000


def linked_by(page: Path) -> set[Path]:
    """Files that a page links or shows."""
    names = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    return {(page.parent / name).resolve() for name in names}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_is_there(page: Path) -> None:
    assert [path for path in linked_by(page) if not path.exists()] == []


def test_each_picture_is_shown_and_small() -> None:
    pictures = set((ROOT / "docs/pictures").resolve().iterdir())
    assert pictures <= set[Path]().union(*map(linked_by, PAGES))
    assert [path for path in pictures if path.stat().st_size > PICTURE_BYTES_MAX] == []
