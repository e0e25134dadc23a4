"""Which keys of a partition's series are let go from memory."""

from collections.abc import Sequence

from streams.core.counting.tally import Tally
from streams.core.surges.watch import Watch


def let_go_of(
    watches: Sequence[Watch], tallies: Sequence[Tally], keys_max: int, oldest: int
) -> int:
    """Let go of the least recently met keys when there are more than so many; how many went.

    The store must hold all that has not changed since the last drain. A quarter more than need
    be is let go, so that it happens seldom. ``oldest``: first bucket of the 24 hours.
    """
    known = sum(len(table.keys) for table in (*watches, *tallies))
    if known <= keys_max:
        return 0
    gone = sum(tally.let_go(0, oldest) for tally in tallies)
    watched = sum(len(watch.keys) for watch in watches)
    too_many = known - gone - keys_max * 3 // 4
    for watch in watches:
        share = too_many * len(watch.keys) // max(watched, 1)
        gone += watch.let_go(max(share, 0), oldest)
    return gone
