"""The ordinary posts that the benchmark sets beside a post going viral."""

import numpy as np
import pytest

from tests.bench.detection.post_crowd import DAY_MS, HEAVY_POWER, TAME_POWER, crowd_of


@pytest.mark.parametrize("power", [TAME_POWER, HEAVY_POWER])
def test_posts_are_as_many_and_as_heavy_as_said(power: float) -> None:
    crowd = crowd_of(5, power=power, posts_a_day=100_000, days=2)
    many = np.bincount(crowd.post)
    posts = int((many > 0).sum())
    # some get their first comment too late
    assert 0.8 * 200_000 < posts < 200_000
    more, most = ((many >= count).sum() for count in (40, 160))
    assert most / more == pytest.approx(4.0**-power, rel=0.35)
    assert (np.diff(crowd.at_ms) >= 0).all()
    assert crowd.at_ms[0] >= 0
    assert crowd.at_ms[-1] < 2 * DAY_MS


def test_comments_come_soon_and_trail_off() -> None:
    crowd = crowd_of(6, power=TAME_POWER, posts_a_day=50_000, days=3)
    _, first, number = np.unique(crowd.post, return_index=True, return_inverse=True)
    since = np.delete(crowd.at_ms - crowd.at_ms[first][number], first)
    shares = [(since < minutes * 60_000).mean() for minutes in (5, 60, 24 * 60)]
    assert 0.1 < shares[0] < 0.3
    assert shares[0] + 0.2 < shares[1] < shares[2] - 0.1


def test_a_seed_draws_the_same_crowd() -> None:
    one, same, other = (
        crowd_of(seed, power=TAME_POWER, posts_a_day=300, days=1) for seed in (1, 1, 2)
    )
    assert (one.post == same.post).all()
    assert (one.at_ms == same.at_ms).all()
    assert len(one.post) != len(other.post) or (one.at_ms != other.at_ms).any()
