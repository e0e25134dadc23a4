"""What is said of Prometheus: workers that it scrapes, our rules, who is told."""

import re
from collections.abc import Collection, Iterator
from typing import Final

from streams.core.reports.checkup import Finding, error, fine, not_checked, warning
from streams.edges.metrics.catalogue import CATALOGUE
from streams.edges.metrics.prometheus_facts import LoadedRule, PrometheusFacts

_OURS: Final = re.compile(r"(?<![:\w])surgewatch_\w+(?![:\w])")
"""A metric; in a record's name (job:surgewatch_records:rate) it stands between colons."""
_NOT_NAMES: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\{[^}]*\}')
_PARTS: Final = {"histogram": ("_bucket", "_sum", "_count")}
_LABEL_OF_LINK: Final = {"runbook_url": "docs_url", "dashboard_url": "grafana_url"}
_ALWAYS_FIRES: Final = "SurgewatchDeadMansSwitch"

_FROM_RECORDS: Final = frozenset(
    spec.name
    for spec in CATALOGUE
    if spec.most is not None or spec.name == "surgewatch_watermark_timestamp_seconds"
)
"""Series of these come with records, and are rightly absent before."""


def prometheus_findings(facts: PrometheusFacts, shipped: Collection[str]) -> list[Finding]:
    """What is said of it; ``shipped`` are the names of the rules of this version."""
    up = sum(not target.problem for target in facts.targets)
    ours = [rule for rule in facts.rules if rule.name in shipped]
    return [
        fine("prometheus.reachable", f"it answers and has {len(facts.rules)} rules"),
        *_targets(facts),
        *_rules(ours, shipped),
        *_metrics(facts, ours, up),
        _alertmanager(facts),
        _links(ours),
        _settings(facts, up),
        _alerts(ours),
    ]


def _targets(facts: PrometheusFacts) -> list[Finding]:
    check_id = "prometheus.targets"
    if not facts.targets:
        fix = 'add a scrape job with job_name "surgewatch": every rule looks for that name'
        return [error(check_id, 'nothing is scraped as job="surgewatch"', fix)]
    down = [target for target in facts.targets if target.problem]
    fix = "does the worker run, and is its address and metrics_port the one that is scraped?"
    found = [
        warning(check_id, f"{one.address} is not up: {one.problem}", fix, one.address)
        for one in down
    ]
    return found or [fine(check_id, f"{len(facts.targets)} workers, all up")]


def _rules(ours: Collection[LoadedRule], shipped: Collection[str]) -> list[Finding]:
    check_id = "prometheus.rules"
    missing = sorted(set(shipped) - {rule.name for rule in ours})
    found = [
        error(check_id, f"{rule.name} cannot be evaluated: {rule.problem}",
              "load deploy/prometheus of this version", rule.name)
        for rule in ours if rule.problem
    ]  # fmt: skip
    if missing:
        told = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
        what = f"{len(missing)} of {len(shipped)} rules are not loaded: {told}"
        fix = "add recording.yml and alerts.yml of deploy/prometheus to rule_files, and reload"
        found.append(error(check_id, what, fix))
    return found or [fine(check_id, f"all {len(shipped)} are loaded and evaluate")]


def names_in(query: str) -> Iterator[str]:
    """Metrics of ours that a query uses, however they are selected.

    >>> [*names_in('sum(rate(surgewatch_records_total{result="surgewatch_x"}[5m]))')]
    ['surgewatch_records_total']
    """
    for found in _OURS.finditer(_NOT_NAMES.sub("", query)):
        yield found[0]


def _metrics(facts: PrometheusFacts, ours: Collection[LoadedRule], up: int) -> list[Finding]:
    check_id = "prometheus.metrics"
    if not ours:
        return [not_checked(check_id, "no rule of ours is loaded")]
    exported = {spec.name + part for spec in CATALOGUE for part in _PARTS.get(spec.type, ("",))}
    used = {name for rule in ours for name in names_in(rule.query)}
    unknown = sorted(used - exported)
    if unknown:
        what = f"rules use {', '.join(unknown)}, which this version does not export"
        return [error(check_id, what, "load deploy/prometheus of this version")]
    if not up:
        return [not_checked(check_id, "no worker is up, so nothing is exported")]
    absent = sorted(used - facts.names - _FROM_RECORDS)
    if absent:
        what = f"workers are up, and there is no series of {', '.join(absent)}"
        fix = "do all workers run this version? Wait for two scrapes, then look at /metrics"
        return [warning(check_id, what, fix)]
    return [fine(check_id, f"all {len(used)} metrics that the rules use are exported")]


def _alertmanager(facts: PrometheusFacts) -> Finding:
    check_id = "prometheus.alertmanager"
    if not facts.alertmanagers:
        what = "it sends alerts to no Alertmanager: nobody is told"
        return error(check_id, what, "see alerting: alertmanagers: in its configuration")
    return fine(check_id, f"it sends alerts to {facts.alertmanagers}")


def _links(ours: Collection[LoadedRule]) -> Finding:
    """Links of what fires now; the dead man's switch always does."""
    check_id = "prometheus.links"
    links = {name: link for rule in ours for name, link in rule.links.items()}
    if not links:
        return not_checked(check_id, "no alert of ours fires, not even the dead man's switch")
    lost = [
        label
        for name, label in _LABEL_OF_LINK.items()
        if not links.get(name, "").startswith(("http://", "https://"))
    ]
    if lost:
        what = f"links in notifications lead nowhere: without the external label {', '.join(lost)}"
        fix = "set external_labels in the global part of its configuration: docs/alerting.md"
        return warning(check_id, what, fix)
    return fine(check_id, "links in notifications begin with docs_url and grafana_url")


def _settings(facts: PrometheusFacts, up: int) -> Finding:
    check_id = "prometheus.settings"
    if not up or not facts.digests:
        return not_checked(check_id, "no worker tells its settings")
    if len(facts.digests) > 1 or len(facts.versions) > 1:
        what = (
            f"workers have {len(facts.digests)} different settings "
            f"and {len(facts.versions)} versions"
        )
        fix = "see docs/runbooks/SurgewatchSettingsDiffer.md; during a rolling restart it passes"
        return warning(check_id, what, fix)
    return fine(check_id, f"all have the settings {next(iter(facts.digests))}")


def _alerts(ours: Collection[LoadedRule]) -> Finding:
    check_id = "prometheus.alerts"
    if not ours:
        return not_checked(check_id, "no rule of ours is loaded")
    firing = sorted({rule.name for rule in ours if rule.firing} - {_ALWAYS_FIRES})
    if firing:
        told = f"{', '.join(firing)} {'fires' if len(firing) == 1 else 'fire'}"
        pages = ", ".join(f"docs/runbooks/{name}.md" for name in firing)
        return warning(check_id, told, f"see {pages}")
    return fine(check_id, "none fires but the dead man's switch")
