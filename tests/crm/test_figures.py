"""Figures that are added."""

from hypothesis import given
from hypothesis import strategies as st

from moked.crm.costs import Prices, cost
from moked.crm.figures import BUCKET_MS, COMPONENTS, Figures, Tally, as_json, from_json, percentile, steps, together

counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 50))
calls = st.dictionaries(
    st.builds("{:02} {}".format, st.integers(0, 23), st.sampled_from(["completed", "refused", "live"])),
    st.integers(1, 9),
)
figures = st.builds(
    Figures, calls=calls, talk_ms=st.integers(0, 10**6), heard_ms=counts, lead_calls=st.integers(0, 9),
    leads=st.integers(0, 9), turns=st.integers(0, 99), cut=st.integers(0, 9),
    latency=st.dictionaries(st.sampled_from(COMPONENTS), st.dictionaries(st.sampled_from("0123"), st.integers(1, 9))),
    engines=counts, failovers=counts, letters=st.integers(0, 999), tokens=st.integers(0, 999),
)  # fmt: skip


@given(figures, figures, figures)
def test_days_are_added_in_any_order_and_grouping(one, two, three):
    assert together([together([one, two]), three]) == together([three, together([two, one])])
    assert together([one]) == one
    assert together([]) == Figures()
    assert together([one, two]).total == one.total + two.total
    assert sum(one.hours()) == sum(one.outcomes().values()) == one.total >= one.answered


@given(figures)
def test_what_is_stored_comes_back(one):
    assert from_json(as_json(one)) == one


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60), st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_a_percentile_is_right_to_a_bucket(values, percent):
    tally = Tally()
    for value in values:
        tally.add("response", value)
    ordered = sorted(values)
    exact = ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
    assert abs(percentile(tally.buckets["response"], percent) - exact) <= BUCKET_MS


moments = st.lists(st.none() | st.integers(0, 9000), min_size=5, max_size=5)


@given(st.none() | st.integers(0, 5000), moments)
def test_steps_make_up_the_whole(speech_end, known):
    found = steps(speech_end, known)
    if speech_end is None or known[-1] is None:
        assert found == []
        return
    *parts, whole = found
    assert whole[0] == "response"
    assert sum(took for _, took in parts) == whole[1] >= max(0, known[-1] - speech_end)
    assert all(took >= 0 for _, took in found)


def test_no_percentile_of_nothing():
    assert percentile({}, 50) is None


def test_cost_is_what_was_used_times_what_it_costs():
    used = Figures({"09 completed": 2, "10 refused": 1}, 120_000, {"google": 60_000, "whisper": 60_000},
                   letters=500_000, tokens=1_000_000)  # fmt: skip
    found = cost(used, Prices(0.01, 0.024, 16, 2))
    assert (found.phone, found.hearing, found.voice, found.model) == (0.02, 0.024, 8.0, 2.0)
    assert found.a_call == found.total / 2
    assert cost(Figures(), Prices()).a_call is None
    assert not Prices().known
