"""Posts whose languages shift: comments of the creator's own and of another language.

>>> from streams.core.worlds.counts import count_world_of
>>> from streams.core.worlds.plans import WORLDS
>>> world = count_world_of(WORLDS["mix"], seed=7, creators=1000, hours=48)
>>> after = [step.counts for step in mix_steps_of(world) if step.bucket >= world.happens]
>>> own, foreign = sum(after).sum(axis=0)
>>> round(float(foreign / (own + foreign)), 1)
0.4
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streams.core.worlds.count_columns import BUCKETS_PER_HOUR, Ints
from streams.core.worlds.counts import CountWorld
from streams.core.worlds.platform import LANGS


@dataclass(frozen=True, slots=True)
class MixStep:
    """Comments in one bucket on each mixed post (row): of her own and of the other language."""

    bucket: int
    counts: Ints


def mix_steps_of(world: CountWorld) -> Iterator[MixStep]:
    """Walk the buckets; rows are those of ``world.columns.mix_creators``."""
    rng = np.random.default_rng([world.seed, 13])
    plan, posts = world.plan.mix, len(world.columns.mix_creators)
    for bucket in range(world.first, world.after):
        if plan is None:
            yield MixStep(bucket, np.zeros((0, 2), np.int64))
            continue
        foreign = plan.foreign_before if bucket < world.happens else plan.foreign_after
        per_bucket = plan.comments_per_hour / BUCKETS_PER_HOUR
        rates = np.array([per_bucket * (1 - foreign), per_bucket * foreign])
        yield MixStep(bucket, rng.poisson(rates, (posts, 2)).astype(np.int64))


def foreign_lang_of(lang: int) -> int:
    """Index in LANGS of the language that comes into the posts of creators of one: en, or zh.

    >>> LANGS[foreign_lang_of(LANGS.index("ja"))], LANGS[foreign_lang_of(LANGS.index("en"))]
    ('en', 'zh')
    """
    return LANGS.index("zh" if LANGS[lang] == "en" else "en")
