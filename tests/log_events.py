"""Every line that the code says, read from its source: for a test, and for docs/logs.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import streams

PACKAGE = Path(str(streams.__file__)).parent
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class LogLine:
    """One call of a logger: its event, level, sentence (or its first) and names of fields."""

    event: str
    level: str
    sentence: str
    fields: tuple[str, ...]
    module: str


def log_lines() -> list[LogLine]:
    """All of them, in the order of their names."""
    found = [line for path in PACKAGE.rglob("*.py") for line in _lines_of(path)]
    return sorted(found, key=lambda line: line.event)


def log_lines_markdown() -> str:
    """Write the table of docs/logs.md."""
    lines = ["| event | level | sentence |", "|---|---|---|"]
    for line in log_lines():
        said = line.sentence or "(which surge, of whom, by how much)"
        fields = [f"`{name}`" for name in line.fields if f"{{{name}" not in line.sentence]
        rest = f"; also {', '.join(fields)}" if fields and line.sentence else ""
        lines.append(f"| `{line.event}` | {line.level} | {said.replace('|', '/')}{rest} |")
    return "\n".join(lines) + "\n"


def _lines_of(path: Path) -> Iterator[LogLine]:
    tree = ast.parse(path.read_text())
    texts = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                args=[ast.Constant(value=str(event)), sentence],
                keywords=keywords,
            ) if level in LEVELS:
                said = texts.get(sentence.id) if isinstance(sentence, ast.Name) else sentence
                words = said.value if isinstance(said, ast.Constant) else ""
                fields = tuple(one.arg for one in keywords if one.arg is not None)
                place = path.relative_to(PACKAGE).as_posix()
                yield LogLine(event, level, str(words), fields, place)
            case _:
                pass
