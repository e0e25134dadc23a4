"""A moment as people give it: so long ago, or a date."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO: Final = re.compile(r"(\d{1,6})([smhd])")


def since_ms_of(text: str, now_ms: int) -> int:
    """Milliseconds since 1970. Raises ValueError.

    >>> since_ms_of("2h", 10_000_000), since_ms_of("1970-01-01T00:00:01Z", 0)
    (2800000, 1000)
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


class Since(click.ParamType):
    """An option's value: 30m, 2h, 7d, or a time in ISO 8601 (UTC where no zone is given)."""

    name = "since"

    def __init__(self, now_ms: Any) -> None:
        self._now_ms = now_ms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds since 1970."""
        try:
            return since_ms_of(value, self._now_ms())
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is none of 30m, 2h, 7d, 2025-01-15T00:00:00Z", param, ctx)
