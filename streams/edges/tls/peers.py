"""When the certificate that a server shows ends, read in a handshake of its own."""

import socket
import ssl
from datetime import UTC, datetime


def peer_end_of(
    context: ssl.SSLContext, address: tuple[str, int], seconds_max: float
) -> datetime | None:
    """End of the server's own certificate; None: no handshake came about, and why is not told.

    Not of those above it, which a server may show too. ``seconds_max`` is for each step.
    """
    try:
        with (
            socket.create_connection(address, timeout=seconds_max) as connection,
            context.wrap_socket(connection, server_hostname=address[0]) as tls,
        ):
            told = tls.getpeercert() or {}
    except (OSError, ValueError):  # ValueError: a host name that cannot be one
        return None
    end = told.get("notAfter")
    return (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC) if isinstance(end, str) else None
    )
