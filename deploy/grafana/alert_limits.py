"""Limits of the alert rules, read from the rules themselves: a panel's threshold is its alert's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from operator import add, mul, sub, truediv
from pathlib import Path
from typing import Any, Final

import yaml
from promql_parser import BinaryExpr, Expr, NumberLiteral, ParenExpr, parse

ALERTS: Final = Path(__file__).parents[1] / "prometheus/alerts.yml"
SMALLEST_COUNT: Final = 0.001
"""Where a limit is 0 a threshold stands here."""
_ABOVE: Final = 1e-6
_COMPARES: Final = (">", "<", ">=", "<=", "==")
_CALCULATES: Final = {"+": add, "-": sub, "*": mul, "/": truediv}


@dataclass(frozen=True, slots=True)
class Limit:
    """From where on an alert holds: above ``value``, or, ``is_least``, when it is not reached."""

    alert: str
    value: float
    severity: str
    is_least: bool = False

    @property
    def step(self) -> float:
        """Where a threshold stands: Grafana colours from a value on, an alert holds above it.

        >>> limit_of("SurgewatchSettingsDiffer").step
        1.000001
        """
        return round(self.value * (1 + _ABOVE), 9) or SMALLEST_COUNT


def limit_of(alert: str, value: float | None = None, *, is_least: bool = False) -> Limit:
    """An alert's limit: the number that it compares with, or ``value`` where that is none.

    Raises KeyError for an alert that is not there, ValueError for one that compares with no number.

    >>> limit_of("SurgewatchDataDelayed")
    Limit(alert='SurgewatchDataDelayed', value=60.0, severity='page', is_least=False)
    """
    rule = _rules()[alert]
    if value is None:
        value = _compared_with(parse(rule["expr"]))
    if value is None:
        msg = f"{alert} compares with no number"
        raise ValueError(msg)
    return Limit(alert, value, rule["labels"]["severity"], is_least)


@cache
def _rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def _compared_with(expr: Expr) -> float | None:
    """The number beside the outermost comparison; of several joined ones the first's."""
    if isinstance(expr, ParenExpr):
        return _compared_with(expr.expr)
    if not isinstance(expr, BinaryExpr):
        return None
    if str(expr.op) in _COMPARES:
        return _number(expr.rhs)
    return _compared_with(expr.lhs)


def _number(expr: Expr) -> float | None:
    if isinstance(expr, NumberLiteral):
        return float(expr.val)
    if isinstance(expr, BinaryExpr) and str(expr.op) in _CALCULATES:
        left, right = _number(expr.lhs), _number(expr.rhs)
        if left is not None and right is not None:
            return round(float(_CALCULATES[str(expr.op)](left, right)), 9)
    return None
