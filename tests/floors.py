"""The rule of the house, read from the source: which module may import what, and how long it is.

app → edges → core. Core is mathematics: what it may import is a list.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

FLOORS = ("core", "edges", "app")  # from the ground up: imports go down only
LINES_MAX = 400

CORE_STANDARD = frozenset(
    {
        *("__future__", "abc", "array", "bisect", "collections", "copy", "dataclasses", "enum"),
        *("fractions", "functools", "hashlib", "heapq", "itertools", "math", "numbers"),
        *("operator", "re", "statistics", "string", "struct", "types", "typing", "zlib"),
    }
)
CORE_THIRD_PARTY = frozenset({"msgspec", "numpy"})
# Parts of the allowed ones that reach a clock, a file or chance.
CORE_NAMES_FORBIDDEN = frozenset(
    {"numpy.load", "numpy.save", "numpy.savez", "numpy.fromfile", "numpy.tofile", "numpy.memmap"}
)
# Chance is for the simulation only, and only with a seed.
CORE_CHANCE = frozenset({"numpy.random.Generator", "numpy.random.default_rng"})
# River shows its face in these: named by a dotted path, and its state taken apart.
WITH_RIVER = ("detector.py", "detection/bank.py", "detection/river_models.py")
DETECTOR_ONLY = frozenset({"river", "importlib", "inspect", "io", "pickle"})
CORE_BUILTINS_FORBIDDEN = frozenset({"open", "print", "input", "eval", "exec", "__import__"})


def breaches_of(path: Path, package: Path) -> list[str]:
    """Every breach of a rule by one file, each as `file:line what`; empty when it keeps them."""
    text = path.read_text()
    place = path.relative_to(package.parent).as_posix()
    floor = path.relative_to(package).parts[0]
    tree = ast.parse(text, filename=place)
    found = [
        f"{place}:{line} {message}"
        for line, message in (*_imports_up(tree, path, package, floor), *_core(tree, path, floor))
    ]
    lines = text.count("\n")
    if lines > LINES_MAX:
        found.append(f"{place}:{lines} has more than {LINES_MAX} lines")
    return found


def imports_of(tree: ast.AST, path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every import, relative ones resolved, wherever it stands."""
    home = (package.name, *path.relative_to(package).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(home[: len(home) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _imports_up(tree: ast.AST, path: Path, package: Path, floor: str) -> Iterator[tuple[int, str]]:
    if floor not in FLOORS:
        return
    above = FLOORS[FLOORS.index(floor) + 1 :]
    for line, name in imports_of(tree, path, package):
        parts = name.split(".")
        if parts[0] == package.name and len(parts) > 1 and parts[1] in above:
            yield line, f"{floor} imports from {parts[1]}: {name}"


def _core(tree: ast.AST, path: Path, floor: str) -> Iterator[tuple[int, str]]:
    if floor != "core":
        return
    package = path.parent
    while package.name != "core":
        package = package.parent
    allowed = CORE_STANDARD | CORE_THIRD_PARTY | {package.parent.name}
    if path.relative_to(package).as_posix() in WITH_RIVER:
        allowed |= DETECTOR_ONLY
    for line, name in imports_of(tree, path, package.parent):
        forbidden = name in CORE_NAMES_FORBIDDEN or name.startswith("numpy.random")
        if forbidden or name.split(".")[0] not in allowed:
            yield line, f"core may not import {name}"
    for node in ast.walk(tree):
        used = _forbidden_use(node)
        if used is not None and isinstance(node, ast.expr):
            yield node.lineno, f"core may not use {used}"


def _forbidden_use(node: ast.AST) -> str | None:
    match node:
        case ast.Attribute():
            dotted = _dotted(node)
            chance = dotted.startswith("numpy.random.") and dotted not in CORE_CHANCE
            return dotted if chance or dotted in CORE_NAMES_FORBIDDEN else None
        case ast.Call(func=ast.Attribute() as function, args=[], keywords=[]):
            unseeded = _dotted(function) == "numpy.random.default_rng"
            return "numpy.random.default_rng() without a seed" if unseeded else None
        case ast.Call(func=ast.Name(id=name)) if name in CORE_BUILTINS_FORBIDDEN:
            return f"{name}()"
        case _:
            return None


def _dotted(node: ast.Attribute) -> str:
    text = ast.unparse(node)
    return f"numpy{text[2:]}" if text.startswith("np.") else text
