"""Lines about surges: pages and waves for operators, the rest while debugging.

Nowhere else do lines name a creator or a post.
"""

import logging
from collections.abc import Sequence
from typing import Final

from streams.core.surges.surge import Surge, seen_words_of
from streams.edges.logs.lines import logger_of

LINES_MAX: Final = 10
"""Of one write: a day of catching up may tell a hundred thousand."""
_HOUR_MS: Final = 3_600_000

log = logger_of(__name__)


def tell_surges(told: Sequence[Surge]) -> None:
    """Say which surges were announced, and of how many more there is no line."""
    if not told or not log.is_told(logging.INFO):
        return
    pages = [one for one in told if one.severity == "page" and one.state in {"opened", "grown"}]
    for one in pages[:LINES_MAX]:
        log.info("surge_page", _words(one), **_fields(one))
    if len(pages) > LINES_MAX:
        log.info(
            "surge_pages_more",
            "{more:,} more pages were announced with these",
            more=len(pages) - LINES_MAX,
        )
    if log.is_told(logging.DEBUG):
        chosen = set(map(id, pages))
        for one in [one for one in told if id(one) not in chosen][:LINES_MAX]:
            log.debug("surge_told", _words(one), **_fields(one))


def _words(surge: Surge) -> str:
    if surge.kind == "wave":
        return "{state} by {trigger}: a wave, {seen}"
    whose = "of {creator_id}" if surge.post_id is None else "on {creator_id}'s post {post_id}"
    return f"{{state}} by {{trigger}}: {{kind}} {whose}, {{seen}}"


def _fields(surge: Surge) -> dict[str, object]:
    fields: dict[str, object] = {
        "surge_id": surge.surge_id,
        "revision": surge.revision,
        "kind": surge.kind,
        "trigger": surge.trigger,
        "state": surge.state,
        "severity": surge.severity,
        "observed": surge.observed,
        "seen": seen_words_of(surge),
        "hours": surge.window_ms / _HOUR_MS,
    }
    if surge.creator_id:
        fields["creator_id"] = surge.creator_id
    if surge.post_id is not None:
        fields["post_id"] = surge.post_id
    return fields
