"""What a Prometheus says of our workers and rules, by its HTTP API."""

import base64
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from streams.edges.errors import SettingsError, UnreachableError
from streams.edges.settings.specs import url_without_password

_BYTES_MAX: Final = 64 * 2**20
_JOB: Final = "surgewatch"
_SERIES: Final = '{__name__=~"(surgewatch|process)_.+"}'


class PrometheusUnreachable(UnreachableError):
    """No Prometheus answers at the URL, or it refuses us. The URL is shown without secrets."""

    def __init__(self, url_shown: str, cause: str) -> None:
        self.url_shown, self.cause = url_shown, cause
        super().__init__(f"cannot reach Prometheus at {url_shown} ({cause})")


class Target(NamedTuple):
    """One worker that is scraped; ``problem`` is empty when it is up."""

    address: str
    problem: str


class LoadedRule(NamedTuple):
    """One rule that is loaded; ``problem`` is empty when it evaluates. ``firing``: an alert is.

    ``links``: annotations of its first alert, such as ``runbook_url``, as they are sent.
    """

    name: str
    query: str
    problem: str
    firing: bool
    links: Mapping[str, str] = MappingProxyType({})


class PrometheusFacts(NamedTuple):
    """Workers, rules, names of series, Alertmanagers, and (worker's digest, version) as told."""

    targets: Sequence[Target]
    rules: Sequence[LoadedRule]
    names: frozenset[str]
    alertmanagers: int
    digests: frozenset[str]
    versions: frozenset[str]


def shipped_rules() -> frozenset[str]:
    """Names of the alerts and records in ``deploy/prometheus``, as shipped with this version."""
    file = resources.files("streams.edges.metrics").joinpath("rule_names.txt")
    return frozenset(file.read_text(encoding="utf-8").split())


def read_prometheus(url: str, timeout_seconds: float) -> PrometheusFacts:
    """Ask all questions. Raises PrometheusUnreachable, SettingsError for what is no URL."""
    server = _Server(url, timeout_seconds)
    targets = server.ask("targets", state="active")["activeTargets"]
    groups = server.ask("rules")["groups"]
    managers = server.ask("alertmanagers")["activeAlertmanagers"]
    return PrometheusFacts(
        targets=[_target_of(one) for one in targets if one["labels"].get("job") == _JOB],
        rules=[_rule_of(rule) for group in groups for rule in group["rules"]],
        names=frozenset(server.ask("label/__name__/values", **{"match[]": _SERIES})),
        alertmanagers=len(managers),
        digests=server.label_values("surgewatch_settings_info", "hash"),
        versions=server.label_values("surgewatch_build_info", "version"),
    )


def _target_of(told: dict[str, Any]) -> Target:
    up = told["health"] == "up"
    problem = "" if up else told.get("lastError") or f"its health is {told['health']}"
    return Target(told["labels"].get("instance", told["scrapeUrl"]), problem)


def _rule_of(told: dict[str, Any]) -> LoadedRule:
    problem = told.get("lastError", "") if told.get("health") == "err" else ""
    alerts: list[dict[str, Any]] = told.get("alerts", [])
    annotations: dict[str, str] = alerts[0].get("annotations", {}) if alerts else {}
    links = {name: text for name, text in annotations.items() if name.endswith("_url")}
    firing = told.get("state") == "firing"
    return LoadedRule(told["name"], told["query"], problem, firing, links)


class _Server:
    def __init__(self, url: str, timeout_seconds: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = f"--prometheus {url_without_password(url)}: give http://host:port"
            raise SettingsError(msg)
        login, at, host = parts.netloc.rpartition("@")
        self._url = urllib.parse.urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._headers = {}
        if at:
            pair = urllib.parse.unquote(login).encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._timeout_seconds = timeout_seconds

    def ask(self, page: str, **parameters: str) -> Any:
        """Data of an answer. Raises PrometheusUnreachable."""
        query = urllib.parse.urlencode(parameters)
        asked = urllib.request.Request(  # noqa: S310 http or https, as checked above
            f"{self._url}/api/v1/{page}?{query}", headers=self._headers
        )
        try:
            with urllib.request.urlopen(asked, timeout=self._timeout_seconds) as answer:  # noqa: S310
                return msgspec.json.decode(answer.read(_BYTES_MAX))["data"]
        except urllib.error.HTTPError as error:
            error.close()
            raise PrometheusUnreachable(self._url, f"HTTP {error.code} for {page}") from error
        except urllib.error.URLError as error:
            raise PrometheusUnreachable(self._url, str(error.reason)) from error
        except OSError as error:
            raise PrometheusUnreachable(self._url, error.strerror or str(error)) from error
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            msg = "what it answers is not Prometheus' API"
            raise PrometheusUnreachable(self._url, msg) from error

    def label_values(self, name: str, label: str) -> frozenset[str]:
        """Values that a label of a series has now."""
        found = self.ask("query", query=f"count by ({label}) ({name})")["result"]
        return frozenset(one["metric"].get(label, "") for one in found)
