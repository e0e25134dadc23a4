"""A write to a socket that has just closed is a broken connection.

uvloop refuses it with a RuntimeError, where asyncio's own loop drops the bytes. aiokafka knows
OSError alone: its producer's sender would end for good, and nothing be announced any more until
the watchdog ends the worker.
"""

from typing import Any, Final

from aiokafka import conn
from aiokafka.errors import KafkaConnectionError

_plain_send: Final = conn.AIOKafkaConnection.send


def take_closed_for_broken() -> None:
    """Have aiokafka's connections do so from now on: what was to be sent is tried again."""
    conn.AIOKafkaConnection.send = _send


def _send(self: Any, request: Any, expect_response: bool = True) -> Any:  # as theirs
    try:
        return _plain_send(self, request, expect_response)
    except RuntimeError as error:
        if "closed" not in str(error):  # uvloop has no class of its own for it
            raise
        self.close(reason=conn.CloseReason.CONNECTION_BROKEN)
        msg = f"Connection at {self._host}:{self._port} broken: {error}"
        raise KafkaConnectionError(msg) from error
