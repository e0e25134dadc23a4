"""What the store holds of a watched key beside its counts: detector's state and cohort."""

from typing import Final

import numpy as np

from streams.core.detection.block_state import STATE_DTYPE
from streams.core.detection.cohorts import VOTE_DTYPE

WATCH_STATE_DTYPE: Final = np.dtype([("detector", STATE_DTYPE), ("audience", VOTE_DTYPE)])
"""One key's state, no padding: the detector's 52 bytes and the two of its cohort's votes."""
