"""The demo from start to end: the servers, the telling, the listening, and the showing."""

import asyncio
import contextlib
import logging
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from streams.app.demo.servers import DemoServers, demo_servers
from streams.app.demo.state import TELLING, DemoState, SurgeRow
from streams.app.demo.story import HOURS_MAX, STORY_HOURS, Verdict, verdict_of
from streams.core.worlds.platform import HOUR_MS, World
from streams.core.worlds.simulation import Simulation
from streams.edges.codec.simulated import SimulatedJson
from streams.edges.errors import UnreachableError
from streams.edges.kafka.producer import RecordProducer, aiokafka_quiet
from streams.edges.kafka.surge_topic import SurgeTopicReader
from streams.edges.kafka.topic_reader import Span
from streams.edges.process.worker_signs import is_ready, read_worker_signs
from streams.edges.settings.list import Settings

STORY_SECONDS: Final = 36.0
"""Real time of the story."""
START_SECONDS: Final = 8.0
"""Real time that servers and worker take to start, about."""
END_SECONDS: Final = 2.0
AFTER_HOURS_MAX: Final = 72
"""Event time told after the story at most: the broker keeps every record in memory."""
AFTER_HOURS_A_SECOND: Final = 0.1
LAG_RECORDS_MAX: Final = 60_000
"""Above it the telling waits: on a slow machine the story takes longer, surges come no later."""
_READY_SECONDS_MAX: Final = 60.0
_STILL_SECONDS_MAX: Final = 30.0
_TOLD_SECONDS_MAX: Final = 10.0
_LOOK_SECONDS: Final = 0.5
_SHOW_SECONDS: Final = 0.2

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoStuck(UnreachableError):
    """The worker does not get ready, or reads no further."""


class View(Protocol):
    """Shows the demo to somebody."""

    def show(self, state: DemoState) -> None:
        """Show how things are; called a few times a second."""

    def hear(self, state: DemoState, row: SurgeRow, value: bytes) -> None:
        """A surge was announced; ``value`` is its JSON."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """How long the demo runs: ``seconds`` from its start, or None: until the story is told."""

    seconds: float | None = None
    begun_seconds: float = field(default_factory=time.monotonic)

    @property
    def hours(self) -> int:
        """Event time to tell, whole hours, 24 or more."""
        return min(STORY_HOURS + math.ceil(self._after_hours), HOURS_MAX)

    @property
    def _after_seconds(self) -> float:
        return max(0.0, (self.seconds or 0.0) - START_SECONDS - STORY_SECONDS - END_SECONDS)

    @property
    def _after_hours(self) -> float:
        return min(AFTER_HOURS_MAX, self._after_seconds * AFTER_HOURS_A_SECOND)

    def due_seconds(self, hours: float) -> float:
        """When an hour of the story is due, in seconds after the first.

        >>> DemoPlan().due_seconds(12.0)
        18.0
        """
        due = min(hours, STORY_HOURS) * STORY_SECONDS / STORY_HOURS
        if hours > STORY_HOURS and self._after_hours:
            due += (hours - STORY_HOURS) * self._after_seconds / self._after_hours
        return due

    def is_over(self, now_seconds: float) -> bool:
        """Whether it is time to tell nothing more."""
        return self.seconds is not None and self.left_seconds(now_seconds) <= END_SECONDS

    def left_seconds(self, now_seconds: float) -> float:
        """Seconds until the end, 0 when it ends with the story."""
        return max(0.0, self.begun_seconds + (self.seconds or 0.0) - now_seconds)


def run_demo(
    plan: DemoPlan, world: World, user: Settings, view: contextlib.AbstractContextManager[View]
) -> tuple[DemoState, Verdict]:
    """Run it to its end; nothing that it started is left, whatever ends it.

    Raises KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP, and SurgewatchErrors.
    """
    state = DemoState(world, user, plan.begun_seconds)
    # Without a handler, warnings of libraries would land in the view, and those about a broker
    # that died below the line that says so: it stays.
    logging.getLogger().addHandler(logging.NullHandler())
    with _signals(), contextlib.ExitStack() as stack:
        try:
            shown = stack.enter_context(view)

            def phase(words: str) -> None:
                state.phase = words
                shown.show(state)

            running = stack.enter_context(demo_servers(user, phase))
            state.address = f"{running.settings.metrics_host}:{running.settings.metrics_port}"
            with aiokafka_quiet([]):
                asyncio.run(_Play(plan, running, state, shown).run())
        finally:
            # From here on a second Ctrl-C may not leave anything behind: it takes seconds.
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
    return state, _verdict(state)


def _verdict(state: DemoState) -> Verdict:
    return verdict_of(state.truth(), [row.opened for row in state.rows.values()], state.cast)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does; puts all back at the end."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if before[number] != signal.SIG_IGN:
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Play:
    """The tasks of one run, and what they share."""

    def __init__(self, plan: DemoPlan, running: DemoServers, state: DemoState, view: View) -> None:
        self._plan = plan
        self._running = running
        self._settings = running.settings
        self._state = state
        self._view = view

    async def run(self) -> None:
        """Run until the telling is over; raises what ended it before."""
        tasks = [
            asyncio.create_task(task)
            for task in (self._play(), self._watch(), self._listen(), self._show())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._running.check()  # what a dead server did to the others is not worth a word
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _play(self) -> None:
        state, plan = self._state, self._plan
        state.phase = "the worker joins its group"
        address = (self._settings.metrics_host, self._settings.metrics_port)
        limit = time.monotonic() + _READY_SECONDS_MAX
        while not await asyncio.to_thread(is_ready, *address):
            if time.monotonic() > limit:
                message = f"the worker is not ready after {_READY_SECONDS_MAX:g} s: is the machine "
                raise DemoStuck(message + "very busy? Start the demo again")
            await asyncio.sleep(0.1)
        state.phase = TELLING
        await self._tell()
        state.phase = "the worker reads the rest"
        await self._wait_read()
        state.phase = "idle: everything is told and read"
        await asyncio.sleep(plan.left_seconds(time.monotonic()) - END_SECONDS)
        state.phase = "ending"
        self._view.show(state)

    async def _tell(self) -> None:
        """Send the world's records, each five minutes of event time when they are due."""
        state, world = self._state, self._state.world
        topics = (self._settings.topic_follows, self._settings.topic_comments)
        encoder = SimulatedJson(world)
        async with RecordProducer(self._settings, idempotent=False) as producer:
            for topic in topics:
                await producer.open_topic(topic)
            began = time.monotonic()
            for step in Simulation(world).steps():
                hours = (step.start_ms - world.start_ms) / HOUR_MS
                values = (
                    encoder.encode_follows(step.follows),
                    encoder.encode_comments(step.comments),
                )
                due = began + self._plan.due_seconds(hours)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                while state.lag > LAG_RECORDS_MAX and not self._plan.is_over(time.monotonic()):
                    await asyncio.sleep(0.05)
                if self._plan.is_over(time.monotonic()):
                    return
                state.release(step, time.monotonic())
                for topic, rows, records in zip(
                    topics, (step.follows, step.comments), values, strict=True
                ):
                    await producer.send(topic, encoder.keys(rows), records)
                await producer.push()
                state.tell(step, time.monotonic())

    async def _wait_read(self) -> None:
        """Wait until the worker has read everything and told what it must."""
        state = self._state
        read, still_since = state.read, time.monotonic()
        while state.read < state.sent:
            if state.read != read:
                read, still_since = state.read, time.monotonic()
            if time.monotonic() > still_since + _STILL_SECONDS_MAX:
                message = f"the worker reads no further: {state.lag} records are left"
                raise DemoStuck(message)
            await asyncio.sleep(0.1)
        limit = time.monotonic() + _TOLD_SECONDS_MAX
        while not _verdict(state).holds and time.monotonic() < limit:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)  # announcements that no truth asks for

    async def _watch(self) -> None:
        """Ask the worker how far it is, and see that all of them run."""
        address = (self._settings.metrics_host, self._settings.metrics_port)
        while True:
            self._running.check()
            signs = await asyncio.to_thread(read_worker_signs, *address)
            if signs is not None:
                self._state.look(signs, time.monotonic())
            await asyncio.sleep(_LOOK_SECONDS)

    async def _listen(self) -> None:
        async with SurgeTopicReader(self._settings) as reader:
            nothing_yet = {number: Span(0, 0) for number in await reader.spans()}
            async for found in reader.follow(nothing_yet):
                row = self._state.hear(found.surge, time.monotonic())
                self._view.hear(self._state, row, found.value)

    async def _show(self) -> None:
        while True:
            self._view.show(self._state)
            await asyncio.sleep(_SHOW_SECONDS)
