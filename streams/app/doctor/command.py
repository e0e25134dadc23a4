"""The command ``surgewatch doctor``: what is wrong with settings, Kafka, Redis, and Prometheus."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec

from streams import __version__
from streams.app.commands.show import print_json
from streams.app.doctor.checks import CHECKS
from streams.app.doctor.run import Asked, examine, examine_nothing
from streams.core.reports.checkup import (
    STATUSES,
    Finding,
    GroupSum,
    Status,
    exit_code_of,
    sums_of,
    worst_of,
)
from streams.core.reports.stored_counts import shown
from streams.edges.errors import SettingsError
from streams.edges.process.clock import wall_ms
from streams.edges.settings.reading import Settings, read_settings

_MARKS = {"ok": "ok", "warning": "warning", "error": "ERROR", "not_checked": "not checked"}
_COLOURS = {"ok": "green", "warning": "yellow", "error": "red", "not_checked": "cyan"}


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the command tells, as JSON has it; the schema is ``schemas/doctor.json``."""

    version: int = 1
    surgewatch: str = __version__
    at_ms: int
    seconds: float
    status: Status
    exit_code: int
    groups: list[GroupSum]
    findings: list[Finding]


def report_of(findings: Sequence[Finding], at_ms: int, seconds: float) -> DoctorReport:
    """What is told of the findings."""
    return DoctorReport(
        at_ms=at_ms,
        seconds=round(seconds, 3),
        status=worst_of([one for one in findings if one.status != "not_checked"]),
        exit_code=exit_code_of(CHECKS, findings),
        groups=sums_of(findings),
        findings=[*findings],
    )


@click.command(epilog="Example: surgewatch doctor --prometheus http://127.0.0.1:9090 --json")
@click.option("--prometheus", metavar="URL", help="Look at this Prometheus' rules, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every finding.")
@click.option("--all", "every", is_flag=True, help="Tell what is fine, too.")
@click.pass_context
def doctor(context: click.Context, /, **options: Any) -> None:
    """Check settings, Kafka, Redis, the group, lag and clocks, and say what to do.

    Changes nothing, and takes 15 seconds at most. Exit code 0: fine, or warnings only; else by the
    errors: 2 settings, 3 a server cannot be reached, 4 data. docs/doctor.md tells of each finding.
    """
    begun, at_ms = time.monotonic(), wall_ms()
    problem = context.find_object(SettingsError)
    if problem is not None:
        findings = examine_nothing(problem)
    else:
        settings = context.find_object(Settings) or read_settings(os.environ)
        findings = examine(settings, Asked(options["prometheus"]))
    report = report_of(findings, at_ms, time.monotonic() - begun)
    if options["as_json"]:
        print_json(report)
    else:
        for line in lines_of(report, every=options["every"]):
            click.echo(line)
    sys.stdout.flush()
    if report.exit_code:
        raise click.exceptions.Exit(report.exit_code)


def lines_of(report: DoctorReport, *, every: bool) -> Iterator[str]:
    """Lines for people: a group's sums, then its findings, the worst first."""
    for group in report.groups:
        findings = [one for one in report.findings if one.group == group.group]
        yield f"{group.group}: {_summary(group)}"
        unseen = [one for one in findings if one.status == "not_checked"]
        at_once = not every and len(unseen) > 1 and len({one.what for one in unseen}) == 1
        for one in sorted(findings, key=lambda one: STATUSES.index(one.status)):
            if (one.status == "ok" and not every) or (at_once and one in unseen):
                continue
            yield f"  {_mark(one.status)}  {one.id}: {shown(one.what)}"
            if one.fix is not None:
                yield f"    {' ' * len(_MARKS[one.status])}to do: {shown(one.fix)}"
        if at_once:
            yield f"  {_mark('not_checked')}  {len(unseen)} checks: {unseen[0].what}"
    yield _verdict(report)


def _summary(group: GroupSum) -> str:
    parts = [
        (group.error, "error" if group.error == 1 else "errors"),
        (group.warning, "warning" if group.warning == 1 else "warnings"),
        (group.not_checked, "not checked"),
        (group.ok, "fine"),
    ]
    return ", ".join(f"{number} {words}" for number, words in parts if number)


def _mark(status: Status) -> str:
    return click.style(_MARKS[status], fg=_COLOURS[status])


def _verdict(report: DoctorReport) -> str:
    words = {
        "ok": "all that was checked is fine",
        "warning": "it works; see the warnings",
        "error": "it does not work as it is: mend the errors, the first one first",
        "not_checked": "nothing could be checked",
    }[report.status]
    return f"{words} ({report.seconds:.1f} s)"
