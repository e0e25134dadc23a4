"""Follows in an uneven wave: an English audience follows twelve times as much as usual."""

from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np

from streams.core.detection.cohorts import audience_of
from streams.core.records.chunks import FollowChunk
from streams.core.records.comers import accounts_of
from streams.core.records.texts import Texts
from streams.core.time.buckets import BUCKET_MS

BEGIN = 5_000_000
WAVE = 60
SURGE = 64
CREATORS = 500
OWN = 7
"""A creator with a surge of her own inside the wave."""
NAMES = (("en", "US"), ("zh", "CN"), ("zh", "TW"))
"""Languages and regions of the audiences."""
AUDIENCES = np.array([audience_of(*name) for name in NAMES], dtype=np.uint64)


NAME_OF = dict(zip(AUDIENCES.tolist(), NAMES, strict=True))


class Rows(NamedTuple):
    """Records by time: creators, times, the audience of each, when its account was made (0: ?)."""

    creators: np.ndarray[tuple[int], np.dtype[np.int64]]
    at_ms: np.ndarray[tuple[int], np.dtype[np.int64]]
    audiences: np.ndarray[tuple[int], np.dtype[np.uint64]]
    created_ms: np.ndarray[tuple[int], np.dtype[np.int64]]

    def of_part(self, number: int, parts: int) -> "Rows":
        """Those of every so many creators."""
        mine = self.creators % parts == number
        return Rows(*(column[mine] for column in self))

    def chunk(self, begin: int, end: int) -> FollowChunk:
        """These of them."""
        names = [f"c-{creator}" for creator in self.creators[begin:end].tolist()]
        return FollowChunk(
            Texts.of(names),
            self.at_ms[begin:end],
            np.zeros(len(names), dtype=np.bool_),
            audiences=self.audiences[begin:end],
            accounts=accounts_of(self.at_ms[begin:end], self.created_ms[begin:end]),
        )


@cache
def rows(late: bool = False) -> Rows:
    """Creators of a wave: those with an English audience get twelve times as much as usual."""
    draw = np.random.default_rng(11)
    rate = draw.lognormal(-0.5, 0.8, CREATORS)
    english = np.arange(CREATORS) % 3 == 0
    creators, buckets = [], []
    for bucket in range(84):
        in_wave = 12 * min((bucket - WAVE + 1) / 3, 1) if bucket >= WAVE else 1
        lift = np.where(english, in_wave, 1.0)
        lift[OWN] *= 150 if bucket >= SURGE else 1
        who = draw.permutation(np.repeat(np.arange(CREATORS), draw.poisson(rate * lift)))
        creators.append(who)
        buckets.append(np.full(len(who), bucket))
    who, bucket_of = np.concatenate(creators), np.concatenate(buckets)
    at_ms = (BEGIN + bucket_of) * BUCKET_MS + draw.integers(0, BUCKET_MS, len(who))
    order = np.argsort(at_ms, kind="stable")
    who, at_ms = who[order], at_ms[order]
    if late:
        at_ms = at_ms - np.where(draw.random(len(who)) < 0.02, 2 * BUCKET_MS, 0)
    strange = draw.random(len(who)) < 0.1
    audience = np.where(strange, draw.integers(0, 3, len(who)), who % 3)
    made = np.random.default_rng(12).random(len(who))  # some young, of some it is not told
    age_ms = np.where(made < 0.03, 3_600_000 + who, 40 * 86_400_000)
    return Rows(who, at_ms, AUDIENCES[audience], np.where(made < 0.9, at_ms - age_ms, 0))


def records() -> list[tuple[int, bytes, bytes]]:
    """Bucket since the begin, key and value of each follow."""
    every = rows()
    columns = [column.tolist() for column in every]
    found = []
    for creator, at_ms, audience, created_ms in zip(*columns, strict=True):
        lang, region = NAME_OF[audience]
        record = {
            "creator_id": f"c-{creator}",
            "follower_id": "f-1",
            "at_ms": at_ms,
            "lang": lang,
            "region": region,
            "account_created_ms": created_ms,
        }
        bucket = at_ms // BUCKET_MS - BEGIN
        found.append((bucket, b"c-%d" % creator, msgspec.json.encode(record)))
    return found
