"""The consumer of the batch transport: when chunks are handed over, acked and committed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic, time_ns
from typing import Any, Final

from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faust.tables.recovery import RebalanceAgain
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from mode.utils.futures import notify

from streams.edges.transport.contract import (
    PartitionOwner,
    ReadBack,
    ReadGap,
    TakeOverFailed,
    TransportOptions,
)
from streams.edges.transport.gate import Gate
from streams.edges.transport.ledger import Ledger
from streams.edges.transport.message import ChunkMessage, NoOffsets
from streams.edges.transport.thread import ConsumerThread, RebalanceListener

_IDLE_WHILE_FULL_SECONDS: Final = 0.05
_CANCEL_SECONDS_MAX: Final = 5.0


class Consumer(stock.Consumer):  # type: ignore[misc]  # untyped
    """Hands chunks to agents, keeps the ledger, and opens and closes the gate."""

    RebalanceListener = RebalanceListener

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = Gate()
        self.last_chunk_at: float | None = None  # monotonic seconds
        self.ledger = Ledger()
        self._seeks = 0  # begun and not ended
        self._stale = False
        self._owned: set[TP] = set()
        self._taking: asyncio.Future[dict[TP, int]] | None = None
        self._next: dict[TP, int] = {}
        self._begun: dict[TP, int] = {}
        self._room = asyncio.Event()
        self._read_offset = NoOffsets()
        self._commit_lock = asyncio.Lock()
        self._seek_lock = asyncio.Lock()
        self._give_up_lock = asyncio.Lock()

    @property
    def options(self) -> TransportOptions:
        """The app's ``transport_options``, or the defaults."""
        return getattr(self.app, "transport_options", None) or TransportOptions()

    @property
    def owner(self) -> PartitionOwner | None:
        """The app's ``partition_owner``; None: begin at Kafka's committed offsets."""
        return getattr(self.app, "partition_owner", None)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def stop_flow(self) -> None:
        """Block agents' input, and close the gate."""
        self.gate.close()
        super().stop_flow()

    def resume_flow(self) -> None:
        """Let agents have input, and open the gate if the seek has taken place."""
        super().resume_flow()
        self.gate.open()

    # Assignment.

    async def perform_seek(self) -> None:
        """Ask the owner where to begin, and seek there. Called after every assignment.

        Raises RebalanceAgain, which Faust waits out; TakeOverFailed and OffsetBeyondEnd stop it.
        """
        if self.gate.is_open():  # a seek for these partitions came before its own dealing's
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
        seek = self.gate.begin_seek()
        if seek is None:  # dealt anew already: Faust seeks once they are
            raise RebalanceAgain
        await self._seek_as(seek)

    async def _seek_as(self, seek: int) -> None:
        self._seeks += 1
        try:
            async with self._seek_lock:
                assigned = set(self.assignment())
                ends = monotonic() + self.options.take_over_seconds_max
                while True:
                    self._stale = False
                    starts = await self._take_over(assigned, ends)
                    if starts is None or not self.gate.holds(seek):
                        raise RebalanceAgain
                    if not self._stale:
                        break
                if not self.gate.end_seek(seek):
                    raise RebalanceAgain
                self._owned = assigned
                self.ledger.reset(starts)
                self._next, self._begun = starts, dict(starts)
        finally:
            self._seeks -= 1

    async def read_again(self, before: Callable[[], Awaitable[None]] | None = None) -> None:
        """Take every partition over anew; nothing while they are dealt: a seek follows.

        While they are being taken over, whoever does so does it once more. ``before`` is waited
        for once nothing comes in any more.
        """
        # before Faust's seek the gate would open to partitions that were never sought
        if self.gate.is_seek_due:
            return
        if self._seeks:  # closing the gate on Faust's seek, it would wait for ever
            self._stale = True
            return
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        seek = self.gate.begin_seek()
        if seek is None:
            return  # dealt anew in this very moment
        if before is not None:
            await before()
            if not self.gate.holds(seek):  # a rebalance came in between, or is here
                await self.read_again()
                return
        try:
            await self._seek_as(seek)
        except RebalanceAgain:
            return  # Faust seeks after it
        self.app.flow_control.resume()
        self.resume_flow()

    async def _take_over(self, assigned: set[TP], ends: float) -> dict[TP, int] | None:
        """Where each partition was sought to; None when a rebalance came in between."""
        limit = self.options.take_over_seconds_max
        generation = self.app.consumer_generation_id
        self._taking = taking = asyncio.ensure_future(self._starts_of(assigned, generation))
        try:
            done, _ = await asyncio.wait([taking], timeout=max(0.0, ends - monotonic()))
        finally:
            taking.cancel()
        if not done:
            await asyncio.wait([taking], timeout=_CANCEL_SECONDS_MAX)
            msg = f"Where to begin was not known within {limit:g} s: is the state store slow?"
            raise TakeOverFailed(msg)
        return None if taking.cancelled() else taking.result()

    async def _starts_of(self, assigned: set[TP], generation: int) -> dict[TP, int]:
        owner = self.owner
        rereads: Mapping[TP, tuple[int, int]] = {}
        if owner is None:
            wanted = await self._thread.run(self._thread.committed(assigned))
        else:
            given = await owner.take_over(assigned, generation)
            wanted = {tp: given.get(tp) for tp in assigned}
            rereads = owner.rereads
        try:
            starts: dict[TP, int] = await self._thread.run(self._thread.seek_all(wanted, rereads))
        except (ConsumerStoppedError, IllegalStateError):  # it ends; a rebalance came in between
            raise
        except KafkaError as error:  # of a topic that is gone, for one
            cause = str(error) or type(error).__name__
            msg = f"Where to begin was not known: Kafka says {cause}"
            raise TakeOverFailed(msg) from error
        return starts

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Call when a rebalance begins: give up, commit, then Faust's bookkeeping."""
        self.gate.close()
        await super().on_partitions_revoked(revoked)
        self.ledger.forget(revoked)

    async def wait_empty(self) -> None:
        """Give up every partition and commit. Faust calls it on revoke and on stop.

        Agents' queues are empty by then. What is not given up in time is read again. A crashed
        app may have half a chunk in its state: it commits what was acked before only.
        """
        async with self._give_up_lock:
            if self._taking is not None and self._taking.cancel():
                await asyncio.wait([self._taking], timeout=_CANCEL_SECONDS_MAX)
            owned, self._owned = self._owned, set()
            if not owned:
                return  # done before: Faust calls twice on stop
            if self.owner is not None and not self.app.crashed:
                limit = self.options.give_up_seconds_max
                try:
                    await asyncio.wait_for(self.owner.give_up(owned), limit)
                except TimeoutError:
                    self.log.warning("Not all was stored within %s s; it is read again", limit)
                except Exception as exc:  # the owner's own: the rebalance must go on
                    self.log.exception("Giving up partitions failed, they are read again: %r", exc)
            with suppress(TimeoutError):  # the limit counts the wait for another commit too
                await asyncio.wait_for(self.commit(), self.options.commit_seconds_max)

    # Reading.

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ChunkMessage]]:
        """Fetched chunks, one message each. Drops what the gate has closed behind."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        partitions = set(self._get_active_partitions())
        if self.should_stop or not partitions:
            await self._wait_for_room()
            return
        # a partition whose queue was full must not wait for the others' silence
        wait_seconds = _IDLE_WHILE_FULL_SECONDS if self._buffered_partitions else timeout
        began_ns, told = time_ns(), self.options.fetched
        epoch, found = await self._thread.run(self._thread.fetch(partitions, wait_seconds))
        for kafka_tp, fetched in found.items():
            if not self.gate.is_open() or epoch != self.gate.epoch:
                return  # a seek follows, and reads it again
            tp = ensure_TP(kafka_tp)
            if fetched.start_offset not in {None, self._next.get(tp)}:
                first_offset = await self._thread.run(self._thread.first_offset(tp))
                if not self.gate.is_open() or epoch != self.gate.epoch:
                    return
                self._check_gap(tp, fetched.start_offset or 0, first_offset)
            self._next[tp] = fetched.chunk.next_offset
            self.last_chunk_at = monotonic()
            receipt = self.ledger.hand_over(tp, fetched.chunk.next_offset)
            if told is not None:
                told(tp, fetched.chunk, began_ns)
            generation = self.app.consumer_generation_id
            yield tp, ChunkMessage(tp, fetched.chunk, receipt, generation)

    def _check_gap(self, tp: TP, start: int, first_offset: int) -> None:
        """Return if what lies between was deleted and may be left out, else raise."""
        # aiokafka begins at the first record there is when ours is not there
        expected = self._next.get(tp)
        if expected is not None and start < expected:
            raise ReadBack(tp, expected, start)
        if expected is None or first_offset < start:
            raise ReadGap(tp, -1 if expected is None else expected, start)
        self.options.records_gone(tp, expected, start)

    async def _wait_for_room(self) -> None:
        self._room.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._room.wait(), 1.0)

    def on_buffer_drop(self, tp: TP) -> None:
        """Call when an agent's queue has room again."""
        super().on_buffer_drop(tp)
        self._room.set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Read these partitions again."""
        super().resume_partitions(tps)
        self._room.set()

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: chunks follow each other without a gap."""

    # Acking and committing.

    def ack(self, message: Any) -> bool:
        """Book a message as done; True if it was not before."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def ack_to(self, tp: TP, offset: int) -> None:
        """Book every chunk of a partition that ends at or before ``offset`` as done."""
        self.ledger.ack_to(tp, offset)

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what is acked; False if there was nothing, or it failed and is tried again."""
        async with self._commit_lock:
            self._acked.clear()  # the Cython stream iterator's; the ledger has them already
            self._acked_index.clear()
            offsets = self.ledger.committable()
            if topics is not None:
                offsets = {t: o for t, o in offsets.items() if t in topics or t.topic in topics}
            return await self._commit_offsets(offsets) if offsets else False

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        limit, began_ns = self.options.commit_seconds_max, time_ns()
        try:
            commit = self._thread.run(self._thread._commit(offsets))
            done: bool = await asyncio.wait_for(commit, limit)
        except TimeoutError:
            self.log.warning("Kafka did not answer a commit within %s s; it is tried again", limit)
            self.options.commit_failed()
            return False
        except ConsumerStoppedError:
            return False  # after a crash; the store knows the offset
        if done:
            self.ledger.book(offsets)
            if self.options.committed is not None:
                self.options.committed(offsets, began_ns)
        else:
            self.options.commit_failed()
        return done

    async def on_task_error(self, exc: BaseException) -> None:
        """Stop the app when an agent fails: its chunk is not acked, so it is read again."""
        self.stop_flow()
        self.app.flow_control.suspend()
        await self.app.crash(exc)

    # Asking.

    async def position(self, tp: TP) -> int | None:
        """Offset after the last chunk handed over, or where reading began; None: not known."""
        return self._next.get(tp)

    def begun_at(self, tp: TP) -> int | None:
        """Offset at which reading began when the partition was dealt; None: not yet."""
        return self._begun.get(tp)

    def end_offsets(self) -> dict[TP, int]:
        """Offsets up to which records can be read, as last heard; asks nobody."""
        ends: dict[TP, int] = self._thread.end_offsets()
        return ends

    def fresh_end_offsets(self) -> dict[TP, int]:
        """Those that a broker told just now: a partition that stands there is idle."""
        ends: dict[TP, int] = self._thread.fresh_end_offsets()
        return ends

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: the worker has its own watchdog."""
