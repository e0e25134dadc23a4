"""Findings are complete, sum up, and decide the exit code; nothing unseen is fine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.app.doctor.checks import CHECKS
from streams.core.reports.checkup import (
    STATUSES,
    Finding,
    complete,
    error,
    exit_code_of,
    fine,
    not_checked,
    sums_of,
    warning,
    worst_of,
)

IDS = [check.id for check in CHECKS]
FINDINGS = st.lists(
    st.builds(
        lambda check_id, status: Finding(
            id=check_id, group=check_id.partition(".")[0], status=status, what="so", fix="do"
        ),
        st.sampled_from(IDS),
        st.sampled_from(STATUSES),
    ),
    max_size=20,
)


@given(FINDINGS)
def test_every_check_is_told_and_none_that_was_not_made_is_fine(found: list[Finding]) -> None:
    told = complete(CHECKS, found, {"redis": "it is away"})
    assert list(dict.fromkeys(one.id for one in told)) == IDS
    made = {one.id for one in found}
    for one in told:
        if one.id in made:
            assert one in found
        else:
            assert one.status == "not_checked"
            assert one.group != "redis" or one.what == "it is away"
    assert sorted(map(repr, (one for one in told if one.id in made))) == sorted(map(repr, found))


@given(FINDINGS)
def test_sums_have_every_finding_once_and_the_worst_decides(found: list[Finding]) -> None:
    sums = sums_of(found)
    assert sum(one.ok + one.warning + one.error + one.not_checked for one in sums) == len(found)
    assert sum(one.error for one in sums) == sum(one.status == "error" for one in found)
    assert [one.group for one in sums] == list(dict.fromkeys(one.group for one in found))
    assert (worst_of(found) == "error") == any(one.status == "error" for one in found)
    assert (exit_code_of(CHECKS, found) == 0) == (worst_of(found) != "error")


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ([], 0),
        (["settings.read"], 2),
        (["redis.reachable", "kafka.topics"], 3),
        (["kafka.topics"], 4),
        (["kafka.topics", "kafka.session", "redis.reachable"], 2),
    ],
)
def test_the_exit_code_is_that_of_what_to_mend_first(broken: list[str], code: int) -> None:
    found = [
        fine("redis.version", "7"),
        warning("redis.memory", "full", "more"),
        not_checked("redis.role", "?"),
        *(error(check_id, "broken", "mend it") for check_id in broken),
    ]
    assert exit_code_of(CHECKS, found) == code


def test_a_finding_of_no_check_is_a_bug() -> None:
    with pytest.raises(KeyError):
        complete(CHECKS, [fine("kafka.nothing", "?")], {})


def test_ids_are_unique_and_each_error_has_an_exit_code_of_the_command_line() -> None:
    assert len(set(IDS)) == len(IDS)
    assert {check.exit_code for check in CHECKS} == {2, 3, 4}
    assert worst_of([]) == "not_checked"
