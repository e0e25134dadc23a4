"""The scalar detector keeps River's promises for estimators, and its own."""

import pickle
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import anomaly, checks, compose, preprocessing

from streams.core.detection import tail
from streams.core.detection.policy import SINGLE_SERIES, DetectorPolicy, PolicyError
from streams.core.detector import SurgeDetector

Check = Callable[[SurgeDetector], None]
_DAY = 288


class _Series:
    """Stands in for River's credit card data, which has to be downloaded: a labelled stream."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __iter__(self) -> Iterator[tuple[dict[str, float], bool]]:
        draw = random.Random(7)
        for _ in range(self._size):
            surge = draw.random() < 0.02
            noise = {f"V{number}": draw.gauss(0.0, 1.0) for number in range(8)}
            yield {"amount": draw.expovariate(0.2) * (30 if surge else 1), **noise}, surge


def _river_checks() -> list[Any]:
    def series(model: object, scale: int = 1) -> Iterator[_Series]:
        yield _Series(1000 * scale)

    with patch.object(checks, "_yield_datasets", series):
        found = list(checks.yield_checks(SurgeDetector()))
    return [pytest.param(check, id=_name(check)) for check in found]


def _name(check: Any) -> str:
    return str(check.func.__name__ if isinstance(check, partial) else check.__name__)


@pytest.mark.parametrize("check", _river_checks())
def test_river_check_holds(check: Check) -> None:
    check(SurgeDetector())


def test_river_checks_are_all_found_and_say_no_to_a_detector_that_knows_nothing() -> None:
    class Silent(SurgeDetector):
        """Ranks calm above surge."""

        def score_one(self, x: Any) -> float:
            return -super().score_one(x)

    names = {param.id for param in _river_checks()}
    assert {"check_pickling", "check_roc_auc", "check_bounded_memory_growth"} <= names
    assert len(names) >= 20
    with pytest.raises(AssertionError):
        checks.anomaly.check_roc_auc(Silent(), _Series(1000))


def _usual(days: int, seed: int = 1, policy: DetectorPolicy | None = None) -> SurgeDetector:
    """Detector that has seen some days of about 5 events a bucket."""
    detector, draw = SurgeDetector(policy), random.Random(seed)
    for _ in range(days * _DAY):
        detector.learn_one({"count": draw.randint(0, 10)})
    return detector


def test_same_counts_give_the_same_scores_also_from_a_pickle_halfway() -> None:
    one, other = _usual(3), _usual(3)
    other = pickle.loads(pickle.dumps(other))
    for count in (0, 1, 7, 30, 500):
        assert one.score_one({"count": count}) == other.score_one({"count": count})
        one.learn_one({"count": count})
        other.learn_one({"count": count})


def test_clone_is_new_and_has_the_same_parameters() -> None:
    policy = DetectorPolicy(alarms_per_day=0.01)
    used = SurgeDetector(policy, feature="count")
    used.learn_one({"count": 9})
    clone = used.clone()
    assert (clone.policy, clone.feature) == (policy, "count")
    assert pickle.dumps(clone) == pickle.dumps(SurgeDetector(policy, feature="count"))


def test_clone_of_a_pipeline_scores_like_a_new_one() -> None:
    model = compose.Select("follows") | SurgeDetector()
    model.learn_one({"follows": 3})
    clone = model.clone()
    new = compose.Select("follows") | SurgeDetector()
    for count in (3, 9, 0, 40) * 200:
        assert clone.score_one({"follows": count}) == new.score_one({"follows": count})
        clone.learn_one({"follows": count})
        new.learn_one({"follows": count})


def test_skipped_buckets_fade_like_buckets_of_no_exposure_and_no_day_is_taught_by_them() -> None:
    one, steps = _usual(3), _usual(3)
    one.skip(10 * _DAY)
    for _ in range(10 * _DAY):
        steps.skip()
    assert one.expected == pytest.approx(steps.expected)
    assert one._tail.days == pytest.approx(steps._tail.days)
    assert one._tail.days < _usual(3)._tail.days
    assert one.expected == pytest.approx(5.0, rel=0.1)


def test_settled_detector_expects_the_median() -> None:
    detector = SurgeDetector()
    detector.settle([900.0, 1000.0, 1100.0, 90_000.0, 1000.0])
    assert detector.expected == pytest.approx(1000.0, rel=0.03)
    assert detector.score_one({"count": 1000}) < 1.0 <= detector.score_one({"count": 90_000})


def test_scoring_changes_nothing() -> None:
    detector = _usual(2)
    before = pickle.dumps(detector)
    detector.score_one({"count": 10**6})
    assert pickle.dumps(detector) == before


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=60))
def test_what_was_scored_before_it_is_learnt_changes_nothing(
    steps: list[tuple[int, int, bool]],
) -> None:
    asked, silent = SurgeDetector(), SurgeDetector()
    for scored, count, twice in steps:
        asked.score_one({"count": scored})
        if twice:
            asked.score_one({"count": count})
        asked.learn_one({"count": count})
        silent.learn_one({"count": count})
        assert asked.score_one({"count": scored}) == silent.score_one({"count": scored})
    assert pickle.dumps(asked) == pickle.dumps(silent)


def test_score_never_falls_when_the_count_grows() -> None:
    detector = _usual(4)
    scores = [detector.score_one({"count": count}) for count in range(400)]
    assert scores == sorted(scores)
    assert scores[0] == 0.0
    assert scores[-1] > 1.0


def test_alarm_count_is_the_first_count_that_scores_one() -> None:
    detector = _usual(5)
    count = detector.alarm_count(10**9)
    assert count is not None
    assert detector.score_one({"count": count}) >= 1.0 > detector.score_one({"count": count - 1})
    assert detector.alarm_count(count - 1) is None


def test_surge_does_not_become_the_usual() -> None:
    detector = _usual(14)
    for _ in range(12):
        detector.learn_one({"count": 5_000})
    assert detector.expected < 8.0


def test_first_day_does_not_teach_the_tail() -> None:
    wild, calm = SurgeDetector(), SurgeDetector()
    for bucket in range(_DAY):
        wild.learn_one({"count": 1000 if bucket == 100 else 5})
        calm.learn_one({"count": 5})
    assert wild._tail == calm._tail == tail.TailState()


def test_one_artefact_of_counting_does_not_ruin_the_tail() -> None:
    artefact, usual = _usual(10), _usual(10)
    artefact.learn_one({"count": 10**9})
    usual.learn_one({"count": 5})
    for _ in range(2 * _DAY):
        artefact.learn_one({"count": 5})
        usual.learn_one({"count": 5})
    spoilt, sound = artefact.alarm_count(10**9), usual.alarm_count(10**9)
    assert spoilt is not None
    assert sound is not None
    assert spoilt < 4 * sound


def test_newcomer_who_gets_the_storys_followers_alarms_in_the_first_bucket() -> None:
    assert SurgeDetector(DetectorPolicy()).score_one({"follows": 174}) >= 1.0


@pytest.mark.parametrize("odd", [-5, float("nan"), float("-inf"), "many", None, 0])
def test_what_is_no_count_is_zero(odd: object) -> None:
    detector, plain = SurgeDetector(feature="count"), SurgeDetector(feature="count")
    detector.learn_one({"count": odd})
    plain.learn_one({"count": 0})
    assert pickle.dumps(detector) == pickle.dumps(plain)
    assert detector.score_one({"count": odd}) == 0.0
    assert detector.score_one({}) == 0.0


def test_huge_counts_keep_everything_finite() -> None:
    detector = SurgeDetector()
    for count in (float("inf"), 1e300, 10**400, 0, 1):
        detector.learn_one({"count": count})
        assert 0.0 <= detector.score_one({"count": count}) < float("inf")
        assert 0.0 < detector.expected < float("inf")


def test_detector_works_in_a_pipeline_behind_a_selector() -> None:
    model = compose.Select("follows") | SurgeDetector()
    for count in (3, 4, 5) * 200:
        model.learn_one({"follows": count, "hour": 13})
    assert model.score_one({"follows": 4, "hour": 13}) < 1.0
    assert model.score_one({"follows": 400, "hour": 13}) >= 1.0


def test_threshold_filter_classifies_and_protects_the_detector() -> None:
    model = anomaly.ThresholdFilter(SurgeDetector(), threshold=1.0)
    for count in (3, 4, 5) * 200:
        model.learn_one({"follows": count})
    learnt = pickle.dumps(model.anomaly_detector)
    score = model.score_one({"follows": 400})
    assert model.classify(score)
    model.learn_one({"follows": 400})
    assert pickle.dumps(model.anomaly_detector) == learnt
    assert not model.classify(model.score_one({"follows": 4}))


@pytest.mark.parametrize("usual", [1, 40, 300, 5_000])
def test_a_busy_series_is_learnt_behind_a_threshold_filter(usual: int) -> None:
    model, draw = anomaly.ThresholdFilter(SurgeDetector(), threshold=1.0), random.Random(3)
    alarms = 0
    for _ in range(5 * _DAY):
        count = max(round(draw.gauss(usual, usual**0.5)), 0)
        alarms += model.classify(model.score_one({"follows": count}))
        model.learn_one({"follows": count})
    assert alarms <= 3
    assert model.anomaly_detector.expected == pytest.approx(usual, rel=0.1)
    assert model.classify(model.score_one({"follows": 30 * usual}))


def test_the_first_hour_says_what_is_usual_and_is_not_scored() -> None:
    detector, settled = SurgeDetector(), SurgeDetector()
    counts = [100.0, 90.0, 9_000.0, *([110.0] * 9)]
    for number, count in enumerate(counts):
        assert detector.settles
        assert detector.score_one({"count": 50_000}) == 0.0
        detector.learn_one({"count": count})
        assert detector.expected < 200.0 or number == 2
    settled.settle(counts)
    assert not detector.settles
    assert pickle.dumps(detector) == pickle.dumps(settled)
    assert detector.score_one({"count": 50_000}) >= 1.0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="buckets is -3; allowed: 0 or more"):
        SurgeDetector().skip(-3)
    with pytest.raises(ValueError, match="counts is empty; allowed: one or more"):
        SurgeDetector().settle([])


def test_unprotected_threshold_filter_of_river_still_never_learns() -> None:
    """River 0.26.1's fault: its filter protects whatever it is told."""
    model = anomaly.ThresholdFilter(SurgeDetector(), threshold=1.0, protect_anomaly_detector=False)
    new = pickle.dumps(model.anomaly_detector)
    for _ in range(20):
        model.learn_one({"follows": 4})
    assert pickle.dumps(model.anomaly_detector) == new


def test_scaled_features_do_not_break_the_detector() -> None:
    model = preprocessing.StandardScaler() | SurgeDetector()
    for count in (3, 4, 5) * 50:
        model.learn_one({"follows": count})
    assert model.score_one({"follows": 400}) >= 0.0


def test_bar_is_the_evidence_that_scores_one() -> None:
    state = tail.TailState(days=12.0, level=40.0, share=4.0, excess=9.0)
    for policy in (SINGLE_SERIES, DetectorPolicy(), DetectorPolicy(alarms_per_day=1e-6)):
        predictive = tail.tail_of(state, policy)
        bar = tail.bar_of(predictive, policy)
        assert tail.score_of(bar, predictive, policy) == pytest.approx(1.0)
        assert tail.score_of(bar * 0.999, predictive, policy) < 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alarms_per_day", 1.0),
        ("alarms_per_day", 0),
        ("tail_prior_days", float("nan")),
        ("tail_prior_share", 1.5),
        ("dispersion", float("inf")),
        ("window_buckets", (12, 3, 72)),
        ("rate_memory_days", 10_000.0),
    ],
)
def test_policy_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(PolicyError, match=field) as caught:
        DetectorPolicy(**{field: value})
    assert (caught.value.field, caught.value.value is value) == (field, True)
