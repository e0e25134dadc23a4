"""The unit of what a query gives, worked out from its tree and the catalogue."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    UnaryExpr,
    VectorSelector,
)

from streams.edges.metrics.catalogue import CATALOGUE
from streams.edges.metrics.specs import Unit
from tests.dashboard_lint import parsed

Of = tuple[Unit | None, bool]
"""Unit, and whether it is by the second. None: a plain number, which goes with any unit."""

RECORDING: Final = Path(__file__).parents[1] / "deploy/prometheus/recording.yml"
_RECORDED: Final = {
    rule["record"]: rule["expr"]
    for group in yaml.safe_load(RECORDING.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
_METRICS: Final = {spec.name: spec for spec in CATALOGUE}
_COUNTS: Final = ("records", "keys", "surges", "events", "none")
_NAMES: Final[dict[Of, str]] = {
    ("seconds", False): "s",
    ("seconds", True): "percentunit",
    ("bytes", False): "bytes",
    ("bytes", True): "binBps",
    ("records", True): "recps",
    ("keys", True): "cps",
    ("surges", True): "cps",
    ("events", True): "eps",
    ("ratio", False): "suffix:×",
    **{(unit, False): "short" for unit in _COUNTS},
}
SHARE: Final = "percentunit"


class UnitsDiffer(Exception):
    """Values of two units are divided, added or compared."""

    def __init__(self, left: Of, right: Of) -> None:
        super().__init__(f"{left} and {right}")


def unit_of(expr: str) -> str:
    """Grafana's name of the unit of a query's values; raises UnitsDiffer.

    >>> unit_of("sum(rate(surgewatch_store_bytes_total[5m]))")
    'binBps'
    >>> unit_of("surgewatch_lag_records / surgewatch_lag_records")
    'percentunit'
    """
    tree = parsed(expr)
    if _is_share(tree):
        return SHARE
    return _NAMES[_of(tree)]


def _is_share(node: Any) -> bool:
    """Whether it is a part of a whole of the same unit, whatever is done with shares."""
    if isinstance(node, ParenExpr | AggregateExpr):
        return _is_share(node.expr)
    if isinstance(node, VectorSelector) and node.name in _RECORDED:
        return _is_share(parsed(_RECORDED[node.name]))
    if not isinstance(node, BinaryExpr):
        return False
    if str(node.op) == "/":
        part, whole = _of(node.lhs), _of(node.rhs)
        if part != whole:
            raise UnitsDiffer(part, whole)
        return True
    return any(_is_share(side) for side in (node.lhs, node.rhs))


def _of(node: Any) -> Of:
    match node:
        case NumberLiteral():
            found: Of = None, False
        case AggregateExpr() if str(node.op) == "count":
            found = "none", False
        case ParenExpr() | UnaryExpr() | AggregateExpr():
            found = _of(node.expr)
        case MatrixSelector():
            found = _of(node.vector_selector)
        case VectorSelector():
            found = _of_series(node.name or "")
        case Call():
            found = _of_call(node)
        case _:
            found = _of_binary(node)
    return found


def _of_series(name: str) -> Of:
    if name in {"up", "ALERTS"}:
        return "none", False
    if name in _RECORDED:
        return _of(parsed(_RECORDED[name]))
    if name in _METRICS:
        return _METRICS[name].unit, False
    assert re.sub("_(bucket|count)$", "", name) in _METRICS, name
    return "events", False


def _of_call(node: Any) -> Of:
    name = node.func.name
    if name == "time":
        return "seconds", False
    if name == "vector":
        return None, False
    if name == "histogram_quantile":
        (series,) = re.findall(r"(\w+)_bucket", node.args[1].prettify())
        return _METRICS[series].unit, False
    assert name in {"rate", "increase", "abs", "max_over_time", "last_over_time"}, name
    unit, _ = _of(node.args[0])
    return unit, name == "rate"


def _of_binary(node: Any) -> Of:
    left = _of(node.lhs)
    if str(node.op) in {"and", "unless"}:  # the right side's values do not come out
        return left
    right = _of(node.rhs)
    if left[0] is None or right[0] is None:
        return right if left[0] is None else left
    if left != right:
        raise UnitsDiffer(left, right)
    return left
