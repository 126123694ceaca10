"""What a person asks for, and what is told back."""

import pytest

from moked.rollout.policy import NumberRule, Policy
from moked.rollout.requests import NO_GOOGLE, Refused, read_number, read_share, read_since, state

NOW = 1_800_000_000


NOTHING = Policy()


def applied(policy=NOTHING, **fields):
    asked = read_share({name.rstrip("_"): value for name, value in fields.items()}, now=NOW)
    return asked.make(policy, "cli:dana"), asked.what


def test_all_a_share_a_number():
    policy, what = applied(streaming="on")
    assert (policy.share.streaming_percent, policy.share.by, what) == (100, "cli:dana", "streaming on for all calls")
    policy, what = applied(streaming="off", percent="20", for_="2h", why="slow")
    assert (policy.share.streaming_percent, policy.share.until, policy.share.reason) == (80, NOW + 7200, "slow")
    assert what == "streaming off for 20 % of the calls, for 2h"
    policy, what = applied(streaming="true", number="050-123-4567")
    assert policy.numbers == (NumberRule("+972501234567", True),)
    assert what == "streaming on for +972501234567"
    assert read_number("+972 50 1234567").make(policy, "x").numbers == ()


def test_rollback_and_shadow():
    policy, what = applied(applied(streaming="on", number="+972501234567")[0], rollback="true", why="bad")
    assert (policy.share.rollback, policy.numbers) == (True, ())
    assert "rollback" in what
    assert applied(shadow="5")[0].shadow_percent == 5
    assert applied(shadow="0")[1] == "shadow off"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "say one of"),
        ({"streaming": "maybe"}, "neither on nor off"),
        ({"streaming": "on", "percent": "101"}, "percentage"),
        ({"streaming": "on", "percent": "-1"}, "percentage"),
        ({"streaming": "on", "percent": "1" * 5000}, "percentage"),
        ({"streaming": "on", "percent": "5.5"}, "percentage"),
        ({"streaming": "on", "number": "12"}, "telephone number"),
        ({"streaming": "on", "number": "+972501234567", "percent": "5"}, "exclude"),
        ({"streaming": "on", "for": "soon"}, "length of time"),
        ({"streaming": "on", "shadow": "5"}, "say one of"),
        ({"shadow": "5", "percent": "5"}, "shadow goes without percent"),
        ({"rollback": "false"}, "leave it out"),
        ({"rollback": "true", "for": "2h"}, "rollback goes without for"),
        ({"streaming": "on", "colour": "red"}, "unknown: colour"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would_be_right(fields, says):
    with pytest.raises(Refused, match=says):
        read_share(fields, now=NOW)


def test_since():
    assert read_since("24h") == 86_400
    with pytest.raises(Refused):
        read_since("yesterday")


def test_the_state_says_it_all():
    policy, _ = applied(streaming="on", percent="20", for_="2h")
    policy, _ = applied(policy, streaming="off", number="+972501234567")
    told = state(3, policy, default=True, means=False, now=NOW, last=[{"by": "x"}])
    assert told["now"] == "streaming is on for 20 %, set by cli:dana"
    assert told["share"]["until"] == "2027-01-15T10:00:00+00:00"
    assert told["numbers"] == [{"number": "+972501234567", "streaming": False, "until": None}]
    assert (told["note"], told["last_change"], told["version"]) == (NO_GOOGLE, {"by": "x"}, 3)
    assert state(3, policy, default=True, means=True, now=NOW + 7200)["share"] is None
