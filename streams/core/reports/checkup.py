"""Findings of a check-up: what was looked at, how it is, and what to do; pure, for any system.

A check that could not run is told as such. Nothing is fine because nobody looked.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

Status = Literal["ok", "warning", "error", "not_checked"]
STATUSES: Final[tuple[Status, ...]] = ("error", "warning", "not_checked", "ok")
"""From the one to look at first to the one to look at last."""


class Check(NamedTuple):
    """One thing that is looked at; ``id`` is GROUP.NAME and never changes its meaning.

    ``exit_code`` is what an error of it ends with; 0: it gives no errors. ``looks_at``, ``warns``
    and ``errs`` say for people what is looked at, and what makes a warning or an error.
    """

    id: str
    exit_code: int
    looks_at: str
    warns: str = ""
    errs: str = ""

    @property
    def group(self) -> str:
        """First part of the id."""
        return self.id.partition(".")[0]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding; ``subject`` is the topic, partition, member, … that it is about.

    ``fix`` says what to do about a warning or an error, and how to have checked what was not.
    """

    id: str
    group: str
    status: Status
    what: str
    fix: str | None = None
    subject: str | None = None


class GroupSum(msgspec.Struct, frozen=True, kw_only=True):
    """How many findings of each status a group has."""

    group: str
    ok: int
    warning: int
    error: int
    not_checked: int


def fine(check_id: str, what: str, subject: str | None = None) -> Finding:
    """All is as it must be."""
    return _finding(check_id, "ok", what, None, subject)


def warning(check_id: str, what: str, fix: str, subject: str | None = None) -> Finding:
    """It works, and may not for ever."""
    return _finding(check_id, "warning", what, fix, subject)


def error(check_id: str, what: str, fix: str, subject: str | None = None) -> Finding:
    """It does not work, or not rightly."""
    return _finding(check_id, "error", what, fix, subject)


def not_checked(check_id: str, what: str, fix: str | None = None) -> Finding:
    """Nobody knows; ``what`` says why."""
    return _finding(check_id, "not_checked", what, fix, None)


def complete(
    checks: Sequence[Check], findings: Iterable[Finding], reasons: Mapping[str, str]
) -> list[Finding]:
    """All findings in the order of the checks; what has none is told as not checked, with why.

    ``reasons`` are by group. A finding of no check in the list is a bug: KeyError.
    """
    by_id: dict[str, list[Finding]] = {check.id: [] for check in checks}
    for finding in findings:
        by_id[finding.id].append(finding)
    told: list[Finding] = []
    for check in checks:
        reason = reasons.get(check.group, "what it needs is not known")
        told += by_id[check.id] or [not_checked(check.id, reason)]
    return told


def exit_code_of(checks: Sequence[Check], findings: Iterable[Finding]) -> int:
    """0 without errors; else the lowest of their exit codes: its cause is the one to mend first."""
    codes = {check.id: check.exit_code for check in checks}
    return min((codes[one.id] for one in findings if one.status == "error"), default=0)


def worst_of(findings: Sequence[Finding]) -> Status:
    """The status to look at first; of none: not checked."""
    found = {one.status for one in findings}
    return next((status for status in STATUSES if status in found), "not_checked")


def sums_of(findings: Sequence[Finding]) -> list[GroupSum]:
    """How many findings of each status each group has, in the order of the findings."""
    sums = []
    for group in dict.fromkeys(one.group for one in findings):
        of = {
            status: sum(one.group == group and one.status == status for one in findings)
            for status in STATUSES
        }
        sums.append(GroupSum(group=group, **of))
    return sums


def _finding(
    check_id: str, status: Status, what: str, fix: str | None, subject: str | None
) -> Finding:
    group = check_id.partition(".")[0]
    return Finding(id=check_id, group=group, status=status, what=what, fix=fix, subject=subject)
