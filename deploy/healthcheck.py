"""The image's health check: exit code 0 when the worker in this container is ready.

Asks /readyz where the worker's variables say that it serves; otherwise prints why it is not ready.
A bare socket and nothing of Surgewatch, for it runs each few seconds beside the worker:
``python3 -I -S healthcheck.py``.
"""

import os
import socket
import sys

SECONDS_MAX = 4.0


def unready_reason(host: str, port: int, *, tls: bool = False) -> str | None:
    """Why the worker there is not ready; None when it is."""
    request = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"
    try:
        with connected(host, port, tls=tls) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode(errors="replace")
    except OSError as error:
        return f"nobody answers at {host}:{port}: {error}"
    head, _, body = answer.partition("\r\n\r\n")
    return None if " 200 " in head.partition("\r\n")[0] else body.strip() or head


def connected(host: str, port: int, *, tls: bool) -> socket.socket:
    """Connect; with TLS whoever answers is believed, for it is in this very container."""
    plain = socket.create_connection((host, port), SECONDS_MAX)
    if not tls:
        return plain
    import ssl  # noqa: PLC0415 costs as much as all the rest

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)


def main() -> None:
    """Ask, and end with the exit code."""
    host = os.environ.get("SURGEWATCH_METRICS_HOST", "127.0.0.1")
    port = int(os.environ.get("SURGEWATCH_METRICS_PORT", "9464"))
    # A worker that serves on all addresses answers on loopback too.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 not bound
    sys.exit(unready_reason(host, port, tls="SURGEWATCH_METRICS_SSL_CERTFILE" in os.environ))


if __name__ == "__main__":
    main()
