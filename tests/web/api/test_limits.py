"""How often somebody may ask, and where a list goes on."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.web.api import cursors
from moked.web.api.limits import Limiter


def test_a_burst_and_then_the_rate():
    limiter = Limiter(60, 3)
    assert [limiter.take("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert limiter.take("a", 0.0) == pytest.approx(1.0)
    assert limiter.take("b", 0.0) == 0
    assert limiter.take("a", 0.5) == pytest.approx(0.5)
    assert limiter.wait("a", 1.0) == 0
    assert limiter.take("a", 1.0) == 0
    assert limiter.take("a", 1.0) > 0


@given(st.lists(st.floats(0, 120), max_size=200), st.integers(1, 120), st.integers(1, 30))
def test_no_minute_has_more_than_the_rate_and_one_burst(moments, rate, burst):
    limiter = Limiter(rate, burst)
    allowed = [at for at in sorted(moments) if limiter.take("a", at) == 0]
    for start in allowed:
        assert sum(start <= at < start + 60 for at in allowed) <= rate + burst
    for at in allowed[:1]:
        assert at == min(moments)


def test_only_the_last_ten_thousand_are_kept():
    limiter = Limiter(60, 1)
    for number in range(10_500):
        limiter.take(str(number), 0.0)
    assert len(limiter._next) == 10_000


@given(st.none() | st.datetimes(timezones=st.just(UTC)), st.integers(0, 2**31 - 1))
def test_a_cursor_comes_back(moment, row):
    text = cursors.write((moment, row))
    assert cursors.read(text) == (moment, row)
    assert text.isascii()
    assert cursors.write(None) is None


@given(st.text(max_size=60))
def test_what_is_no_cursor_is_refused_and_breaks_nothing(text):
    try:
        moment, row = cursors.read(text)
    except ValueError:
        return
    assert moment is None or isinstance(moment, datetime)
    assert 0 <= row < 2**31
