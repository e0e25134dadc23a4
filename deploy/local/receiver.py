"""Prints each notification that Alertmanager sends: for trying out, where nobody has a pager.

``deploy/alertmanager/alertmanager.yml`` sends to it as it stands: ``python3 receiver.py``. Another
port: ``python3 receiver.py 8099``. Python's standard library and nothing of Surgewatch.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 9099
BYTES_MAX = 4_194_304
LABELS_LEFT_OUT = {"alertname", "severity", "job"}


def lines_of(receiver: str, notification: dict) -> list[str]:  # type: ignore[type-arg]  # JSON
    """A notification in words: a line of who is told of what, and a line for each link."""
    lines = []
    for alert in notification["alerts"]:
        labels, annotations = alert["labels"], alert["annotations"]
        of = " ".join(
            f"{name}={text}" for name, text in labels.items() if name not in LABELS_LEFT_OUT
        )
        name = f"{labels['alertname']} ({labels.get('severity', 'none')})"
        summary = annotations.get("summary", "")
        lines.append(f"to {receiver}: {alert['status']}: {name}: {summary} [{of}]")
        links = ("runbook_url", "dashboard_url")
        lines += [f"    {annotations[link]}" for link in links if link in annotations]
    return lines


class Receiver(BaseHTTPRequestHandler):
    """Takes a notification; the path is the receiver's name."""

    def do_POST(self) -> None:
        """Print it; what is no notification is refused."""
        size = int(self.headers.get("Content-Length", 0))
        try:
            notification = json.loads(self.rfile.read(min(size, BYTES_MAX)))
            lines = lines_of(self.path.strip("/"), notification)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.send_error(400)
            return
        for line in lines:
            print(line if line.isprintable() else ascii(line), flush=True)  # noqa: T201 who typed it reads it here
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 theirs
        """Say nothing of requests."""


def main() -> None:
    """Take notifications until it is interrupted."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    with ThreadingHTTPServer(("127.0.0.1", port), Receiver) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        print(f"notifications to {url} are shown here", flush=True)  # noqa: T201 its work
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended", flush=True)  # noqa: T201 who typed it reads it here


if __name__ == "__main__":
    main()
