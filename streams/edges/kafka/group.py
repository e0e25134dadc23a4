"""What Kafka knows of the workers' group and of the partitions: members, offsets, nothing changed.

Questions take an admin client (``admin.py``), whose own errors they raise.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from streams.edges.kafka.admin import (
    KafkaAdminClient,
    OffsetSpec,
    TopicPartition,
    kafka_errors,
)
from streams.edges.store import Place

_READ_COMMITTED: Final = 1
"""Workers read up to the last stable offset."""
_COORDINATOR_SECONDS_MAX: Final = 4.0
_COMING: Final = (
    kafka_errors.CoordinatorNotAvailableError,
    kafka_errors.CoordinatorLoadInProgressError,
    kafka_errors.NotCoordinatorError,
)


class Member(NamedTuple):
    """One worker as the group's coordinator knows it; ``instance_id`` None: no static member."""

    member_id: str
    instance_id: str | None
    host: str
    places: tuple[Place, ...]

    @property
    def name(self) -> str:
        """What people know it by: its instance id, else its member id and where it is."""
        return self.instance_id or f"{self.member_id}@{self.host}"


class Group(NamedTuple):
    """State in Kafka's words (Stable, Empty, Dead: there is none, …) and members."""

    state: str
    members: tuple[Member, ...]

    @property
    def holders(self) -> dict[Place, str]:
        """Which member holds each partition."""
        return {place: member.name for member in self.members for place in member.places}


class Reach(NamedTuple):
    """Offsets of the first record that Kafka keeps of a partition, and of the next one to come."""

    first_offset: int
    end_offset: int


def read_group(admin: KafkaAdminClient, group: str) -> Group:
    """Read who is in the group; one that nobody ever was in is "Dead"."""
    found = _patiently(lambda: _described(admin, group))
    members = [_member_of(one) for one in found["members"]]
    return Group(found["group_state"], tuple(sorted(members)))


def _described(admin: KafkaAdminClient, group: str) -> Mapping[str, Any]:
    """What is known of the group; raises what kafka-python only writes into its answer."""
    found: Mapping[str, Any] = admin.describe_groups([group])[group]
    coded = re.match(r"\[Error (\d+)\]", found["error"] or "")
    error = kafka_errors.for_code(int(coded[1])) if coded else None
    if error not in {None, kafka_errors.GroupIdNotFoundError}:
        raise error
    return found


def _member_of(told: Mapping[str, Any]) -> Member:
    assigned = told["member_assignment"]
    shares = assigned["assigned_partitions"] if isinstance(assigned, dict) else ()
    places = [Place(one["topic"], number) for one in shares for number in one["partitions"]]
    host = told["client_host"].lstrip("/")
    return Member(told["member_id"], told["group_instance_id"], host, tuple(sorted(places)))


def read_committed(admin: KafkaAdminClient, group: str) -> dict[Place, int]:
    """Read the offsets that the group committed."""
    told = _patiently(lambda: admin.list_group_offsets({group: None})).get(group, {})
    return {Place(*tp): one.offset for tp, one in told.items() if one.offset >= 0}


def read_reach(admin: KafkaAdminClient, places: Iterable[Place]) -> dict[Place, Reach]:
    """Read where each partition begins and ends."""
    wanted = [TopicPartition(*place) for place in places]
    if not wanted:
        return {}
    first, end = (
        admin.list_partition_offsets(dict.fromkeys(wanted, spec), isolation_level=_READ_COMMITTED)
        for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
    )
    return {Place(*tp): Reach(first[tp].offset, end[tp].offset) for tp in wanted}


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask again for some seconds while the group's coordinator is only being found.

    A Kafka in which no group ever was makes the topic of their offsets when it is first asked.
    """
    ends = time.monotonic() + _COORDINATOR_SECONDS_MAX
    while True:
        try:
            return ask()
        except _COMING:
            if time.monotonic() >= ends:
                raise
        time.sleep(0.1)  # in a thread of its own: nobody else waits
