"""What is done about every reason for which WhatsApp ends a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.channels import Link, MessageState, later
from moked.channels.disconnects import GIVE_UP_AFTER, Versions, judge, parse_version

NEW, OLD = (2, 3000, 9), (2, 3000, 5)


@pytest.mark.parametrize(
    ("code", "paired", "link", "again", "error"),
    [
        (515, True, Link.CONNECTING, True, ""),
        (515, False, Link.CONNECTING, True, ""),
        (428, True, Link.WAITING, True, "connection_closed"),
        (428, False, Link.WAITING, True, "connection_closed"),  # also while it opens
        (408, True, Link.WAITING, True, "connection_lost"),
        (408, False, Link.UNPAIRED, False, "qr_ended"),
        (440, True, Link.REPLACED, False, "replaced"),
        (401, True, Link.UNPAIRED, False, "logged_out"),
        (403, True, Link.UNPAIRED, False, "forbidden"),
        (419, True, Link.UNPAIRED, False, "unlinked"),
        (411, True, Link.UNPAIRED, False, "no_multi_device"),
        (405, True, Link.WAITING, True, "version_too_old"),
        (500, True, Link.WAITING, True, "bad_session"),
        (503, True, Link.WAITING, True, "unavailable"),
        (0, True, Link.WAITING, True, "bridge_died"),
        (799, True, Link.WAITING, True, "code_799"),  # one that nobody has seen yet
    ],
)
def test_the_table(code, paired, link, again, error):
    verdict = judge(code, paired=paired, failures=1, chance=0.5)
    assert (verdict.link, verdict.wait_ms is not None, verdict.error) == (link, again, error)
    assert verdict.next_version == (code == 405)
    assert verdict.alarm == (not again and error != "qr_ended")


def test_after_pairing_it_comes_back_at_once():
    assert judge(515, paired=True, failures=1, chance=0.9).wait_ms == 0


@given(st.integers(0, 999), st.booleans(), st.integers(1, 40), st.floats(0, 0.999))
def test_it_never_hammers_and_ends(code, paired, failures, chance):
    verdict = judge(code, paired=paired, failures=failures, chance=chance)
    if verdict.wait_ms is not None:
        assert verdict.wait_ms <= 90_000
        assert verdict.wait_ms >= 500 or (code == 515 and failures < GIVE_UP_AFTER)
        assert failures < GIVE_UP_AFTER or code == 515
    else:
        assert verdict.link in (Link.UNPAIRED, Link.REPLACED, Link.FAILED)


@pytest.mark.parametrize(
    ("versions", "newest", "chosen"),
    [
        (Versions(), None, None),
        (Versions(last_good=OLD), None, OLD),
        (Versions(own=NEW, last_good=OLD).refuse(NEW), OLD, NEW),  # an owner's word holds
        (Versions().refuse(None), NEW, NEW),
        (Versions(last_good=OLD).refuse(OLD), NEW, NEW),
        (Versions(last_good=OLD).refuse(OLD), None, None),
        (Versions(last_good=OLD).refuse(OLD).refuse(NEW), NEW, None),
    ],
)
def test_which_version_is_said(versions, newest, chosen):
    assert versions.choose(newest) == chosen


@pytest.mark.parametrize(
    ("text", "version"),
    [("2.3000.1043857760", (2, 3000, 1043857760)), ("", None), ("2.3", None), ("a.b.c", None), ("2.٣.4", None)],
)
def test_a_version_is_three_numbers(text, version):
    assert parse_version(text) == version


@given(st.lists(st.sampled_from(MessageState)))
def test_what_is_told_of_a_message_only_goes_forward(told):
    state = MessageState.QUEUED
    seen = [state]
    for one in told:
        state = later(state, one)
        seen.append(state)
    order = list(MessageState)
    assert [order.index(one) for one in seen] == sorted(order.index(one) for one in seen)
    if MessageState.READ in seen:
        assert state is MessageState.READ
