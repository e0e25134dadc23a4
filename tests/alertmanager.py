"""A real Alertmanager with our configuration, and the webhook that it calls: for tests."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

import yaml

from streams.edges.process.child import free_port
from tests.servers import Server, program_of

CONFIGURATION: Final = Path(__file__).parents[1] / "deploy/alertmanager/alertmanager.yml"
WEBHOOK: Final = "http://127.0.0.1:9099"
"""Where our configuration sends all, to be replaced by whoever uses it."""
_QUICK: Final = {"group_wait": "5s", "group_interval": "5s", "repeat_interval": "1h"}
"""Long enough for the wave to be known before a notice is told that it lifts."""


class AlertmanagerServer(Server):
    """Runs our configuration as it is, but sooner and to ``webhook`` (its URL)."""

    name = "prometheus-alertmanager"

    def __init__(self, folder: Path, webhook: str) -> None:
        super().__init__(folder)
        self._webhook = webhook

    def _prepare(self) -> None:
        self.port = free_port()
        content = yaml.safe_load(CONFIGURATION.read_text().replace(WEBHOOK, self._webhook))
        _hurry(content["route"])
        (self.folder / "alertmanager.yml").write_text(yaml.safe_dump(content))

    def _command(self) -> list[str]:
        return [
            program_of("prometheus-alertmanager"),
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",  # else it listens on every interface
            f"--storage.path={self.folder / 'data'}",
        ]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    def alerts(self) -> list[dict[str, Any]]:
        """What it knows, with what is held back and by which."""
        url = f"http://127.0.0.1:{self.port}/api/v2/alerts"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found


def _hurry(route: dict[str, Any]) -> None:
    if route["receiver"] != "pager-surges":  # it is quick, and how quick is what is tested
        route.update(_QUICK)
    for one in route.get("routes", []):
        _hurry(one)


class Webhook:
    """Takes what Alertmanager sends, on a free port of the loopback interface."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Mapping[str, Any]]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path.removeprefix("/"), json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 theirs
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        """Where it takes."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def alerts(self, receiver: str) -> list[dict[str, Any]]:
        """Alerts that were sent to a receiver, in the order they came."""
        sent = [note for name, note in self.received if name == receiver]
        return [alert for note in sent for alert in note["alerts"]]

    def __enter__(self) -> Self:
        """Begin to take."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
