"""aiokafka's consumer on a thread of its own: fetching, seeking, committing for the transport."""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from contextlib import suppress
from time import monotonic, time
from typing import Any, Final, TypeVar

import aiokafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as stock
from faust.types import TP

from streams.edges.transport.closed_socket import take_closed_for_broken
from streams.edges.transport.contract import OffsetBeyondEnd
from streams.edges.transport.fetch import Fetched, check_aiokafka, fetch_chunks, fetch_public
from streams.edges.transport.frame_reader import read_in_frames

_T = TypeVar("_T")
_BUSY_FETCH_WAIT_MS: Final = 10
_ASKED_AFTER_SECONDS: Final = 3.0
_ASK_SECONDS_MAX: Final = 5.0
_FRESH_SECONDS: Final = 3.0
_WINDOW_SECONDS: Final = 86_400.0


class RebalanceListener(stock.ConsumerRebalanceListener):  # type: ignore[misc]  # untyped
    """Closes the gate on the consumer's own thread, before anything else happens."""

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> Awaitable[None]:
        """Call when a rebalance begins."""
        self._thread.consumer.gate.begin_dealing()
        return super().on_partitions_revoked(revoked)  # type: ignore[no-any-return]

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Call when partitions were dealt."""
        self._thread.consumer.gate.end_dealing()
        await super().on_partitions_assigned(assigned)


class ConsumerThread(stock.AIOKafkaConsumerThread):  # type: ignore[misc]  # untyped
    """aiokafka's consumer on its own thread and loop: heartbeats never wait for an agent."""

    missing_names: tuple[str, ...] = ()
    is_asked = False
    """Whether it runs, and may be asked for ``silent_seconds``."""
    _answered_at = 0.0
    _is_silent = False

    def __init__(self, consumer: Any, *, loop: Any, **options: Any) -> None:
        read_in_frames()
        take_closed_for_broken()
        # of the kind that the worker's own loop is: mode would make asyncio's, which reads slower
        super().__init__(consumer, loop=loop, thread_loop=type(loop)(), **options)
        self._close_thread_loop_on_stop = True

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf, options = self.app.conf, self.consumer.options
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id or None,
            bootstrap_servers=stock.server_list(transport.url, transport.default_port),
            # Round robin, Faust's choice, would part comments-N from follows-N.
            partition_assignment_strategy=[RangePartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_bytes=options.fetch_bytes_max,
            fetch_min_bytes=1,
            fetch_max_wait_ms=options.fetch_wait_ms_max,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level=options.isolation_level,
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **stock.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def on_start(self) -> None:
        """Call when the thread starts."""
        await super().on_start()
        self._answered_at, self.is_asked = monotonic(), True
        self.missing_names = check_aiokafka(self._ensure_consumer()._fetcher)
        if self.missing_names:
            self.log.warning(
                "aiokafka %s lacks %s: reading record by record, which is slower",
                aiokafka.__version__,
                ", ".join(self.missing_names),
            )

    async def on_thread_stop(self) -> None:
        """Call when the thread stops: leave the group, but do not wait for ever."""
        if self._method_queue is not None:
            await self._method_queue.stop()
        if self._consumer is None:
            return
        limit = self.consumer.options.leave_seconds_max
        # A task of its own: with the broker gone, aiokafka's stop ends in a CancelledError,
        # which would end this thread without a word to the main one.
        leaving = asyncio.ensure_future(self._consumer.stop())
        await asyncio.wait([leaving], timeout=limit)
        if not leaving.done():
            self.log.warning("The broker did not let the consumer leave in %s s", limit)
            leaving.cancel()
        if leaving.cancelled() or not leaving.done() or leaving.exception() is not None:
            closing = asyncio.ensure_future(self._consumer._client.close())
            await asyncio.wait([leaving, closing], timeout=1.0)

    def _stopped_set(self) -> None:
        if self.thread_loop.is_closed():  # after a crash there is no loop left to tell
            self._stopped.set()
        else:
            super()._stopped_set()

    def close(self) -> None:
        """Do nothing: stock Faust closes from the wrong loop; ``on_thread_stop`` does it."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: stock Faust compares the broker's clock with a monotonic one."""

    async def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run on the consumer's thread, past Faust's queue of two workers.

        Raises ConsumerStoppedError when the thread has ended.
        """
        try:
            running = asyncio.run_coroutine_threadsafe(coroutine, self.thread_loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            raise ConsumerStoppedError from None
        cancel = running.cancel

        def cancel_while_open() -> bool:
            # Asks the consumer's loop: once that has closed there is nothing to cancel, and asking
            # would put an error into the log.
            return not self.thread_loop.is_closed() and cancel()

        running.cancel = cancel_while_open  # type: ignore[method-assign]  # of this one call alone
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            # a thread that ends cancels what runs on it; that is not our own cancellation
            task = asyncio.current_task()
            if running.cancelled() and task is not None and not task.cancelling():
                raise ConsumerStoppedError from None
            raise

    async def fetch(
        self, partitions: set[TP], timeout_seconds: float
    ) -> tuple[int, Mapping[TP, Fetched]]:
        """Take fetched chunks; the number is the epoch of the gate in which they were taken."""
        kafka, gate = self._ensure_consumer(), self.consumer.gate
        options = self.consumer.options
        fetcher, records_max = kafka._fetcher, options.chunk_records_max
        if self.missing_names:
            return await self._tagged(
                fetch_public(kafka, partitions, timeout_seconds, records_max, gate.is_open)
            )
        with fetcher._subscriptions.fetch_context():
            epoch, found = await self._tagged(
                fetch_chunks(fetcher, partitions, timeout_seconds, records_max, gate.is_open)
            )
        # aiokafka has one fetch at a time on its way to a broker, so one that waits for idle
        # partitions holds back the busy ones (measured: 65,000 records a second at 500 ms,
        # 200,000 at 10); an idle worker asks twice a second
        idle_ms = options.fetch_wait_ms_max
        fetcher._fetch_max_wait_ms = min(_BUSY_FETCH_WAIT_MS, idle_ms) if found else idle_ms
        return epoch, found

    async def _tagged(self, fetching: Awaitable[_T]) -> tuple[int, _T]:
        found = await fetching  # taken in this very step of the loop: the epoch is still its own
        return self.consumer.gate.epoch, found

    async def seek_all(
        self, starts: Mapping[TP, int | None], rereads: Mapping[TP, tuple[int, int]]
    ) -> dict[TP, int]:
        """Seek every partition, and give where each one really starts.

        ``rereads`` are earlier offsets to begin at instead, or as near to them as can be, each
        with the one from which on records are needed. Of those that retention has deleted
        ``records_gone`` is told, which may raise; an offset past the end raises
        ``OffsetBeyondEnd``; a partition that is no longer assigned, IllegalStateError.
        """
        kafka = self._ensure_consumer()
        first, end = await asyncio.gather(
            kafka.beginning_offsets(list(starts)), kafka.end_offsets(list(starts))
        )
        positions: dict[TP, int] = {}
        for tp, start in starts.items():
            offset = first[tp] if start is None else start
            if offset > end[tp]:
                raise OffsetBeyondEnd(tp, offset, end[tp])
            begin, needed = rereads.get(tp, (offset, offset))
            if needed < first[tp]:
                self.consumer.options.records_gone(stock.TP(*tp), needed, first[tp])
            if start is None and first[tp] > 0:
                await self._look_for_gone_counts(tp, first[tp])
            if begin < min(first[tp], needed):
                self.consumer.options.ids_gone(stock.TP(*tp), min(first[tp], needed) - begin)
            positions[tp] = max(min(begin, offset), first[tp])
        for tp, offset in positions.items():
            kafka.seek(tp, offset)
        return positions

    async def _look_for_gone_counts(self, tp: TP, first_offset: int) -> None:
        """Tell of records that were counted once, and that a count from the first one lacks."""
        kafka = self._ensure_consumer()
        committed = await kafka.committed(tp)
        if not committed:
            return  # this group never counted here: it begins with what there is
        day_ago_ms = int(1000 * (time() - _WINDOW_SECONDS))
        found = (await kafka.offsets_for_times({tp: day_ago_ms}))[tp]
        if found is None or found.offset <= first_offset:
            self.consumer.options.counts_gone(stock.TP(*tp), min(committed, first_offset))

    async def first_offset(self, tp: TP) -> int:
        """Offset of the first record that Kafka still has, or will have."""
        first: dict[TP, int] = await self._ensure_consumer().beginning_offsets([tp])
        return first[tp]

    async def silent_seconds(self) -> float:
        """Seconds since a broker last answered anything.

        Asks one after 3 s, for it may just have nothing to say: joining a group takes long. Once
        it was silent then, only an answer to that question counts.
        """
        client = self._ensure_consumer()._client
        if not self._is_silent:
            answers = (conn._last_action for conn in client._conns.values())
            self._answered_at = max(self._answered_at, *answers, 0.0)
        if monotonic() - self._answered_at > _ASKED_AFTER_SECONDS:
            try:
                await asyncio.wait_for(client.fetch_all_metadata(), _ASK_SECONDS_MAX)
            except (KafkaError, OSError, TimeoutError):
                self._is_silent = True
            else:
                self._is_silent, self._answered_at = False, monotonic()
        return monotonic() - self._answered_at

    def fresh_end_offsets(self) -> dict[TP, int]:
        """Those of `end_offsets` that a broker told just now; any thread."""
        kafka, ends = self._ensure_consumer(), self.end_offsets()
        oldest_ms = 1000 * (time() - _FRESH_SECONDS)
        fresh: dict[TP, int] = {}
        for tp, end in ends.items():
            with suppress(KafkaError, AssertionError):  # given up since, on the other thread
                if (kafka.last_poll_timestamp(TopicPartition(*tp)) or 0) >= oldest_ms:
                    fresh[tp] = end
        return fresh

    def end_offsets(self) -> dict[TP, int]:
        """Offsets up to which records can be read, as the last fetches told; any thread."""
        kafka = self._ensure_consumer()
        stable = self.consumer.options.isolation_level == "read_committed"
        ends: dict[TP, int] = {}
        for tp in kafka.assignment():
            try:
                end = kafka.last_stable_offset(tp) if stable else kafka.highwater(tp)
            except KafkaError:  # given up between the two lines, on the other thread
                continue
            if end is not None:
                ends[stock.TP(tp.topic, tp.partition)] = end
        return ends

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        """Offsets that Kafka holds for the group; None: none."""
        kafka = self._ensure_consumer()
        return {tp: await kafka.committed(TopicPartition(*tp)) for tp in partitions}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        try:
            await self._ensure_consumer().commit(
                {
                    TopicPartition(*tp): OffsetAndMetadata(offset, "")
                    for tp, offset in offsets.items()
                }
            )
        except KafkaError as exc:
            # Kafka's commit only tells lag tools: it is tried again, and nothing stops for it
            self.log.warning("Commit failed, it is tried again: %r", exc)
            return False
        return True
