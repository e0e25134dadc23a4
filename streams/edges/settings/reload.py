"""Which settings a running worker can take up, and what a change of settings is in words."""

from typing import Final, NamedTuple

import msgspec

from streams.edges.settings.list import Settings
from streams.edges.settings.specs import SPECS, hidden

OF_JOBS: Final = frozenset(
    {
        *("rule_followers_24h", "rule_comments_24h"),
        *("budget_notices_per_creator_day", "budget_pages_per_creator_day"),
        *("page_excess_min", "page_ratio_min"),
    }
)
"""Settings that partitions' jobs are made with: each partition is taken over anew for them."""
AT_ONCE: Final = frozenset(
    {
        *("dead_letters_share_max", "dead_letters_window", "dead_letters_row_max"),
        *("flush_interval_ms", "flush_creators_max", "check_interval_ms", "log_level"),
        "traces_sample_share",
    }
)
"""Settings that are looked at each time."""
RELOADABLE: Final = OF_JOBS | AT_ONCE


class Change(NamedTuple):
    """One setting that differs: its name, and both values as people may see them."""

    name: str
    old: str
    new: str

    @property
    def is_applied(self) -> bool:
        """Whether a running worker takes it up; else it needs a restart."""
        return self.name in RELOADABLE


def changes_of(old: Settings, new: Settings) -> list[Change]:
    """All that differs, in the order of the list; secrets are hidden.

    >>> changes_of(Settings(), Settings(rule_followers_24h=7, redis_password="a"))[1]
    Change(name='rule_followers_24h', old='50000', new='7')
    """
    return [
        Change(spec.name, hidden(spec, before), hidden(spec, after))
        for spec in SPECS.values()
        if (before := getattr(old, spec.name)) != (after := getattr(new, spec.name))
    ]


def taken_up(old: Settings, new: Settings) -> Settings:
    """The settings in force after a reload: what needs a restart stays as it was."""
    changed = {
        change.name: getattr(new, change.name)
        for change in changes_of(old, new)
        if change.is_applied
    }
    origins = dict(old.origins)
    for name in changed:
        origins.pop(name, None)
        if name in new.origins:
            origins[name] = new.origins[name]
    return msgspec.structs.replace(old, **changed, origins=origins)
