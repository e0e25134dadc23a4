"""The README says what is so."""

import re
from pathlib import Path

from streams.app.cli import COMMANDS
from streams.edges.settings.specs import settings_markdown

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_list_of_settings() -> None:
    found = re.search(r"<!-- settings: .*? -->\n(.*?)<!-- settings end -->", README, re.DOTALL)
    assert found is not None
    assert found.group(1).strip() == settings_markdown().strip()


def test_every_command_is_in_the_readme() -> None:
    for name in COMMANDS:
        assert f"surgewatch {name}" in README, name


def test_every_file_that_the_readme_names_is_there() -> None:
    root = Path(__file__).parents[2]
    names = re.findall(r"`((?:streams|tests|docs|deploy)/[\w./]+)`", README)
    names += re.findall(r"\]\(((?!http)[\w./]+)\)", README)
    assert len(names) > 10
    assert [name for name in names if not (root / name).exists()] == []
