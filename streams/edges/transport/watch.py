"""Says in one plain line that Kafka is lost, since when, and when it is back."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka.errors import ConsumerStoppedError, KafkaConnectionError

from streams.edges.errors import KafkaUnreachable
from streams.edges.logs.lines import logger_of

TOLD_AFTER_SECONDS: Final = 5.0
"""A broker answers twice a second when there is nothing to read, and is asked after 3 s."""
_AGAIN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 1.0

log = logger_of(__name__)


@contextmanager
def lost_while_starting(bootstrap_servers: str) -> Iterator[None]:
    """Kafka may go while the app starts. Raises KafkaUnreachable for what Faust lets through."""
    try:
        yield
    except KafkaConnectionError as error:
        raise KafkaUnreachable(bootstrap_servers, str(error)) from error


class KafkaWatch:
    """Hears how long Kafka has been silent.

    ``failed`` is told whenever a line is written, ``heard`` each time whether it is silent now.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        failed: Callable[[], None],
        heard: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._servers = bootstrap_servers
        self._failed = failed
        self._heard = heard
        self._lost_seconds: float | None = None
        self._told_at = 0.0

    async def run(self, app: Any) -> None:
        """Ask the app's consumer once a second, for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            thread = app.consumer._thread
            if thread.is_asked:
                with suppress(ConsumerStoppedError):  # the app ends, and says why
                    self.hear(await thread.run(thread.silent_seconds()), time.time())

    def hear(self, silent_seconds: float, now_seconds: float) -> None:
        """Tell of a loss after 5 s, each half minute, and of its end; the clock is Unix's."""
        self._heard(silent_seconds >= TOLD_AFTER_SECONDS)
        if silent_seconds < TOLD_AFTER_SECONDS:
            if self._lost_seconds is not None:
                log.warning(
                    "kafka_answers_again",
                    "Kafka at {servers} answers again after {seconds:.0f} s",
                    servers=self._servers,
                    seconds=self._lost_seconds,
                )
            self._lost_seconds = None
            return
        if self._lost_seconds is None or now_seconds - self._told_at >= _AGAIN_SECONDS:
            since = datetime.fromtimestamp(now_seconds - silent_seconds, tz=UTC)
            log.warning(
                "kafka_silent",
                "Kafka at {servers} has not answered since {since} UTC ({seconds:.0f} s): nothing "
                "is read, committed or announced; what was counted is stored, and it goes on when "
                "Kafka answers",
                servers=self._servers,
                since=since.strftime("%H:%M:%S"),
                seconds=silent_seconds,
            )
            self._failed()
            self._told_at = now_seconds
        self._lost_seconds = silent_seconds
