"""Who followed or commented, as far as waves ask: the cohort, and how old the account is.

Accounts younger than a day say first that a country comes: where almost none follow anybody
usually, a few dozen are a wave, long before all follows together are more than usual. They are
dealt into groups by the time of their creation, so that one account that follows hundreds stands
in one group only, and no account's name is needed.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Ints

Accounts = NDArray[np.uint8]
Comers = NDArray[np.uint16]
"""Number of the cohort, and above it what `accounts_of` says."""

UNTOLD: Final = 0
OLD: Final = 1
YOUNG: Final = 2
"""And so on, one number a group."""
GROUPS: Final = 8
"""Into which young accounts are dealt, by a hash of the time of their creation."""
YOUNG_MS: Final = 86_400_000
_TOLD_FROM_MS: Final = 10**12
"""September 2001: what is earlier is no time of creation, but seconds or a field not set."""
_COHORT_BITS: Final = 8
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_GROUP_SHIFT: Final = np.uint64(64 - (GROUPS - 1).bit_length())


def accounts_of(at_ms: Ints, created_ms: Ints) -> Accounts:
    """How old the accounts were when they followed: untold, old, or young and of which group.

    ``created_ms`` below 10^12 is untold; clocks may differ, so less than a day later is young too.

    >>> day = 86_400_000
    >>> at_ms = np.full(4, 1_736_899_200_000)
    >>> accounts_of(at_ms, at_ms - np.array([at_ms[0], day, day - 1, 0])).tolist()
    [0, 1, 5, 6]
    """
    told = created_ms >= _TOLD_FROM_MS
    accounts: Accounts = told.astype(np.uint8)
    young = (told & (np.abs(at_ms - created_ms) < YOUNG_MS)).nonzero()[0]
    groups = (created_ms[young].astype(np.uint64) * _MIX) >> _GROUP_SHIFT
    accounts[young] = YOUNG + groups.astype(np.uint8)
    return accounts


def comers_of(cohorts: NDArray[np.uint8], accounts: Accounts | None) -> Comers:
    """Both in one number. ``accounts`` None: nothing is told."""
    comers: Comers = cohorts.astype(np.uint16)
    if accounts is not None:
        comers |= accounts.astype(np.uint16) << _COHORT_BITS
    return comers


def cohorts_in(comers: Comers) -> NDArray[np.uint8]:
    """Their cohorts' numbers."""
    return comers.astype(np.uint8)  # what is above does not fit


def accounts_in(comers: Comers) -> Accounts:
    """What is known of their accounts."""
    return (comers >> _COHORT_BITS).astype(np.uint8)
