"""The image's health check: exit code 0 when the worker in this container is ready.

Asks /readyz where the worker's variables say that it serves; otherwise prints why it is not ready.
A bare socket and nothing of Surgewatch, for it runs each few seconds beside the worker:
``python3 -I -S healthcheck.py``.
"""

import os
import socket
import sys

SECONDS_MAX = 4.0


def unready_reason(host: str, port: int) -> str | None:
    """Why the worker there is not ready; None when it is."""
    request = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"
    try:
        with socket.create_connection((host, port), SECONDS_MAX) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode(errors="replace")
    except OSError as error:
        return f"nobody answers at {host}:{port}: {error}"
    head, _, body = answer.partition("\r\n\r\n")
    return None if " 200 " in head.partition("\r\n")[0] else body.strip() or head


def main() -> None:
    """Ask, and end with the exit code."""
    host = os.environ.get("SURGEWATCH_METRICS_HOST", "127.0.0.1")
    port = int(os.environ.get("SURGEWATCH_METRICS_PORT", "9464"))
    # A worker that serves on all addresses answers on loopback too.
    sys.exit(unready_reason({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port))  # noqa: S104 not bound


if __name__ == "__main__":
    main()
