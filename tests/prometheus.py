"""A real Prometheus that scrapes workers and evaluates our rules, for end-to-end tests."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from streams.edges.process.child import free_port
from tests.servers import Server, program_of

RULES: Final = Path(__file__).parents[1] / "deploy/prometheus"


class PrometheusServer(Server):
    """Scrapes these addresses, itself and its Alertmanager, and evaluates each rule, each second.

    ``waits``: alerts that fire sooner than they say. ``minutes``: how many seconds a minute of an
    alert's windows has. ``alertmanager``: its address, if it has one.
    ``scrape``: more of the scrape's configuration, such as TLS and a login.
    """

    name = "prometheus"

    def __init__(
        self,
        folder: Path,
        targets: Sequence[str],
        urls: Mapping[str, str],
        waits: Mapping[str, str] = MappingProxyType({}),
        alertmanager: str | None = None,
        scrape: Mapping[str, Any] = MappingProxyType({}),
        minutes: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        super().__init__(folder)
        self._targets = [*targets]
        self._urls = dict(urls)
        self._waits, self._minutes = waits, minutes
        self._scrape = dict(scrape)
        self._alertmanagers = [] if alertmanager is None else [alertmanager]

    def _prepare(self) -> None:
        self.port = free_port()
        rules = []
        for path in sorted(RULES.glob("*.yml")):
            content = yaml.safe_load(path.read_text())
            for group in content["groups"]:
                group["interval"] = "1s"
                for rule in group["rules"]:
                    if rule.get("alert") in self._waits:
                        rule["for"] = self._waits[rule["alert"]]
                    seconds = self._minutes.get(rule.get("alert"))
                    if seconds is not None:
                        rule["expr"] = _shorter(rule["expr"], seconds)
            rules.append(path.name)
            (self.folder / path.name).write_text(yaml.safe_dump(content))
        (self.folder / "prometheus.yml").write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "external_labels": self._urls},
                    "rule_files": rules,
                    "alerting": {
                        "alertmanagers": [{"static_configs": [{"targets": self._alertmanagers}]}]
                    },
                    "scrape_configs": [
                        {
                            "job_name": "surgewatch",
                            "static_configs": [{"targets": self._targets}],
                            **self._scrape,
                        },
                        {
                            "job_name": "prometheus",
                            "static_configs": [{"targets": [f"127.0.0.1:{self.port}"]}],
                        },
                        {
                            "job_name": "alertmanager",
                            "static_configs": [{"targets": self._alertmanagers}],
                        },
                    ],
                }
            )
        )

    def _command(self) -> list[str]:
        return [
            program_of("prometheus"),
            "--config.file=prometheus.yml",  # from its folder: its pages tell where the rules are
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            "--enable-feature=exemplar-storage",
            "--rules.alert.resend-delay=1s",  # what fired before Alertmanager was found, too
        ]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    def ask(self, page: str, **parameters: str) -> Any:
        """Data of an answer of its API. Raises HTTPError where the question is wrong."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{page}?{query}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> dict[str, float]:
        """What a query gives now: labels as JSON, and value."""
        found = self.ask("query", query=query)["result"]
        return {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in found}


def _shorter(expression: str, seconds: int) -> str:
    """The expression with so many seconds for each minute of its windows and offsets."""
    return re.sub(r"\b(\d+)m\b", lambda found: f"{int(found[1]) * seconds}s", expression)
