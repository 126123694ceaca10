"""What becomes of a job after a run."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.retries import BUG, CODES, DELAYS, FOR_A_PERSON, LOST, Verdict, verdict

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
FAILED = st.dictionaries(st.text(max_size=5), st.sampled_from(CODES), max_size=4)


def test_it_waits_longer_each_time_and_then_for_a_person():
    waits = [verdict({"a": "unavailable"}, tries, NOW).again_at for tries in range(1, 7)]
    assert [at - NOW for at in waits[:-1]] == [timedelta(minutes=m) for m in (1, 5, 30, 120, 360)]
    assert waits[-1] is None
    assert verdict({"a": "unavailable"}, 6, NOW).dead


@pytest.mark.parametrize("code", ["auth", "config", LOST])
def test_what_time_does_not_heal_is_not_tried_again(code):
    assert verdict({"a": code}, 1, NOW) == Verdict(dead=True)
    assert verdict({"a": code, "b": "timeout"}, 1, NOW).again_at is not None, "b may heal"


def test_a_bug_may_have_been_a_bad_moment():
    assert verdict({"a": BUG}, 1, NOW).again_at is not None


@given(FAILED, st.integers(1, 50))
def test_it_is_done_or_waits_or_is_dead(failed, tries):
    found = verdict(failed, tries, NOW)
    assert (found == Verdict()) == (not failed)
    assert not (found.dead and found.again_at)
    if found.again_at is not None:
        assert NOW < found.again_at <= NOW + DELAYS[-1]
        assert set(failed.values()) - FOR_A_PERSON
        assert tries <= len(DELAYS)
