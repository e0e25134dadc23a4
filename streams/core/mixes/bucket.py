"""Comments of a bucket that has closed, by creator and language, against what is usual of each."""

from typing import NamedTuple

import numpy as np

from streams.core.mixes.languages import LanguageTally
from streams.core.mixes.shift import WINDOWS
from streams.core.records.texts import Ints

KNOWN_MIN = 10
"""Comments in the 23 hours before that say what is usual of a creator."""


class BucketComments(NamedTuple):
    """One entry a creator with comments in the bucket and language that she ever had, in order.

    Numbers of comments: ``now`` and ``hour`` in the bucket and the hour that it ends, ``before``
    that hour; and the same of the creator in all languages: ``came``, ``in_hour``, ``known``.
    ``lang`` and ``own`` are numbers of the language and of the creator's own one.
    """

    now: Ints
    hour: Ints
    before: Ints
    came: Ints
    in_hour: Ints
    known: Ints
    lang: Ints
    own: Ints


def comments_in(tally: LanguageTally, bucket: int) -> BucketComments | None:
    """Comments in a bucket, the newest, of creators of whom something is known; None: of nobody."""
    slots = np.flatnonzero(tally.counts.newest[: len(tally.keys)] == bucket)
    owners = np.unique(tally.owners_of(slots))
    rows, pairs = tally.chained(owners)
    known = np.bincount(rows, tally.counts.total[pairs], len(owners))
    kept = (known >= KNOWN_MIN)[rows]
    rows, pairs = rows[kept], pairs[kept]
    now, hour, day = tally.counts.recent(pairs, bucket, (1, WINDOWS[-1]))
    before = day - hour
    size = len(owners)
    known = np.bincount(rows, before, size).astype(np.int64)
    kept = (known >= KNOWN_MIN)[rows]
    rows, pairs = rows[kept], pairs[kept]
    if not len(rows):
        return None
    now, hour, before = now[kept], hour[kept], before[kept]
    came = np.bincount(rows, now, size).astype(np.int64)[rows]
    in_hour = np.bincount(rows, hour, size).astype(np.int64)[rows]
    langs = tally.langs_of(pairs)
    owners, most = tally.most_of(rows, langs, before)
    own = most[np.searchsorted(owners, rows)]
    return BucketComments(now, hour, before, came, in_hour, known[rows], langs, own)
