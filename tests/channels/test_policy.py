"""The policy gate: cases from the law and the channels' terms, each with its source, and what holds for all."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.channels.policy import (
    ANY,
    CONSENT_LASTS,
    ChannelRules,
    Consent,
    DncCheck,
    Facts,
    Purpose,
    Request,
    Standing,
    Verdict,
    decide,
    standing,
)
from moked.channels.rules import RULES, explained

HERE = ZoneInfo("Asia/Jerusalem")


def at(day, hour=11, minute=0, month=11, year=2026):
    """22 November 2026 is a Sunday."""
    return datetime(year, month, day, hour, minute, tzinfo=HERE)


NOON = at(22)
AD, SERVICE, OWNER = Purpose.MARKETING, Purpose.SERVICE, Purpose.OWNER_NOTICE


def agreed(purpose=AD, channel="sms", ago=timedelta(days=30), **more):
    return Consent(purpose, channel, NOON - ago, **more)


def checked(days=3, *, listed=False):
    return DncCheck(NOON - timedelta(days=days), listed)


SPAM = "Communications Law s. 30A (dinolaw.co.il spam guide; afiklaw.com a397)"
DNC = "'Do not call me' registry (law.co.il 2022/07/04)"
WINDOW = "WhatsApp Cloud API: free text in 24 h (product.md 1.8)"
COLD = "Baileys: cold messages restrict the account (product.md 1.5)"
HOUSE = "Sending hours of the business (product.md 1.5)"
CLOUD = ChannelRules(free_window=timedelta(hours=24), cold_ok=False, templates=True)
BRIDGE = ChannelRules(cold_ok=False)
ASKED = Request(SERVICE, "sms", asked_at=NOON)

CASES = [
    # source, request, facts, verdict, one of the reasons
    (SPAM, Request(AD, "sms"), Facts(), Verdict.BLOCKED, "no_consent"),
    (SPAM, Request(AD, "sms"), Facts(consents=(agreed(),)), Verdict.SEND, "consent"),
    (SPAM, Request(AD, "whatsapp"), Facts(consents=(agreed(),)), Verdict.BLOCKED, "no_consent"),
    (SPAM, Request(AD, "sms"), Facts(consents=(agreed(SERVICE),)), Verdict.BLOCKED, "no_consent"),
    (SPAM, Request(AD, "sms", approved=True), Facts(), Verdict.BLOCKED, "no_consent"),
    (SPAM, Request(AD, "email"), Facts(consents=(agreed(channel=ANY),)), Verdict.SEND, "consent"),
    (SPAM, Request(AD, "sms"), Facts(consents=(agreed(revoked_at=at(1)),)), Verdict.BLOCKED, "revoked"),
    (
        SPAM,
        Request(AD, "sms"),
        Facts(consents=(agreed(), Consent(AD, ANY, None, revoked_at=at(20)))),
        Verdict.BLOCKED,
        "revoked",
    ),
    (
        SPAM,
        Request(AD, "sms"),
        Facts(consents=(Consent(AD, ANY, None, revoked_at=at(20)), Consent(AD, "sms", at(21)))),
        Verdict.SEND,
        "consent",
    ),
    (SPAM, Request(AD, "sms"), Facts(consents=(agreed(),), suppressed=True), Verdict.BLOCKED, "suppressed"),
    (SPAM, Request(SERVICE, "sms", asked_at=NOON), Facts(suppressed=True), Verdict.BLOCKED, "suppressed"),
    (
        SPAM,
        Request(SERVICE, "sms", reply=True),
        Facts(suppressed=True, refused_at=NOON, last_inbound_at=NOON),
        Verdict.BLOCKED,
        "suppressed",
    ),
    (
        SPAM,
        Request(SERVICE, "sms", reply=True),
        Facts(suppressed=True, refused_at=NOON - timedelta(days=9), last_inbound_at=NOON),
        Verdict.SEND,
        "wrote_since",
    ),
    (
        SPAM,
        Request(AD, "sms", reply=True),
        Facts(suppressed=True, refused_at=NOON - timedelta(days=9), last_inbound_at=NOON),
        Verdict.BLOCKED,
        "suppressed",
    ),
    (SPAM, ASKED, Facts(), Verdict.SEND, "asked"),
    (SPAM, Request(SERVICE, "sms"), Facts(consents=(agreed(SERVICE),)), Verdict.SEND, "consent"),
    (SPAM, Request(SERVICE, "sms"), Facts(), Verdict.NEEDS_APPROVAL, "no_proof"),
    (SPAM, Request(SERVICE, "sms", approved=True), Facts(), Verdict.SEND, "approved"),
    (DNC, Request(AD, "sms"), Facts(consents=(agreed(ago=CONSENT_LASTS),)), Verdict.BLOCKED, "expired"),
    (
        DNC,
        Request(AD, "sms"),
        Facts(consents=(agreed(ago=CONSENT_LASTS - timedelta(minutes=1)),)),
        Verdict.SEND,
        "consent",
    ),
    (DNC, Request(AD, "voice"), Facts(consents=(agreed(channel="voice"),)), Verdict.BLOCKED, "dnc_unchecked"),
    (
        DNC,
        Request(AD, "voice"),
        Facts(consents=(agreed(channel="voice"),), dnc=checked(15)),
        Verdict.SEND,
        "consent",
    ),
    (
        DNC,
        Request(AD, "voice"),
        Facts(consents=(agreed(channel="voice"),), dnc=checked(16)),
        Verdict.BLOCKED,
        "dnc_old",
    ),
    (DNC, Request(AD, "voice"), Facts(dnc=checked(listed=True)), Verdict.BLOCKED, "dnc_listed"),
    (
        DNC,
        Request(AD, "voice"),
        Facts(consents=(agreed(channel="voice"),), dnc=checked(listed=True)),
        Verdict.NEEDS_APPROVAL,
        "listed_with_consent",
    ),
    (DNC, Request(SERVICE, "voice", agreed_for=NOON), Facts(), Verdict.SEND, "agreed"),
    (SPAM, Request(OWNER, "sms"), Facts(suppressed=True), Verdict.SEND, "owner"),
    (SPAM, Request(OWNER, "sms"), Facts(consents=(Consent(AD, ANY, None, NOON),)), Verdict.SEND, "owner"),
    (
        WINDOW,
        Request(SERVICE, "whatsapp"),
        Facts(rules=CLOUD, last_inbound_at=NOON - timedelta(hours=23)),
        Verdict.SEND,
        "reply",
    ),
    (
        WINDOW,
        Request(SERVICE, "whatsapp"),
        Facts(rules=CLOUD, last_inbound_at=NOON - timedelta(hours=24)),
        Verdict.TEMPLATE,
        "template",
    ),
    (WINDOW, replace(ASKED, channel="whatsapp"), Facts(rules=CLOUD), Verdict.TEMPLATE, "template"),
    (
        WINDOW,
        replace(ASKED, channel="whatsapp"),
        Facts(rules=replace(CLOUD, templates=False)),
        Verdict.BLOCKED,
        "window_closed",
    ),
    (COLD, replace(ASKED, channel="whatsapp"), Facts(rules=BRIDGE), Verdict.BLOCKED, "cold"),
    (
        COLD,
        replace(ASKED, channel="whatsapp"),
        Facts(rules=BRIDGE, last_inbound_at=at(1)),
        Verdict.SEND,
        "asked",
    ),
    (HOUSE, Request(AD, "sms"), Facts(consents=(agreed(),), week={}), Verdict.BLOCKED, "never_open"),
]


@pytest.mark.parametrize(("source", "request_", "facts", "verdict", "reason"), CASES)
def test_a_case_from_the_rules(source, request_, facts, verdict, reason):
    decision = decide(request_, facts, NOON)
    assert (decision.verdict, reason in decision.reasons) == (verdict, True), (source, decision)


HOLIDAY = {date(2026, 9, 12): "ראש השנה", date(2026, 9, 13): "ראש השנה", date(2026, 4, 8): "שביעי של פסח"}
MOMENTS = [
    # now, first allowed moment, why it waits
    (at(22, 7, 59), at(22, 8), "quiet_hours"),
    (at(22, 20, 59), at(22, 20, 59), ""),
    (at(22, 21), at(23, 8), "quiet_hours"),
    (at(26, 21), at(29, 8), "quiet_hours"),  # Thursday evening: Friday is closed, then Shabbat
    (at(27, 15), at(29, 8), "shabbat"),  # Friday afternoon
    (at(28, 12), at(29, 8), "shabbat"),
    (at(28, 20, 59), at(29, 8), "shabbat"),
    (at(28, 21), at(29, 8), "quiet_hours"),
    (at(7, 13, 59, month=4), at(7, 13, 59, month=4), ""),  # the eve of the seventh of Passover, a Tuesday
    (at(7, 14, month=4), at(9, 8, month=4), "holiday"),
    (at(8, 12, month=4), at(9, 8, month=4), "holiday"),
    (at(11, 15, month=9), at(14, 8, month=9), "holiday"),  # two days of the new year, the first a Saturday
    (at(26, 23, month=3), at(29, 8, month=3), "quiet_hours"),  # the clock goes forward in between
]


@pytest.mark.parametrize(("now", "until", "why"), MOMENTS)
def test_a_moment_of_the_week(now, until, why):
    facts = Facts(consents=(Consent(AD, "sms", now - timedelta(days=1)),), rest=HOLIDAY)
    decision = decide(Request(AD, "sms"), facts, now)
    if until == now:
        assert decision.verdict is Verdict.SEND
    else:
        assert (decision.verdict, decision.until, decision.reasons) == (Verdict.WAIT_UNTIL, until, (why,))


def test_who_asked_a_moment_ago_gets_it_on_shabbat_too():
    night = at(28, 2)
    assert decide(Request(SERVICE, "sms", asked_at=night), Facts(), night).verdict is Verdict.SEND
    later = night + timedelta(minutes=31)
    assert decide(Request(SERVICE, "sms", asked_at=night), Facts(), later).until == at(29, 8)


def test_a_call_at_the_hour_they_named_may_be_late_but_not_on_shabbat():
    late = Request(SERVICE, "voice", agreed_for=at(22, 21, 30))
    assert decide(late, Facts(), at(22, 21, 15)).until == at(22, 21, 30)
    assert decide(late, Facts(), at(22, 21, 45)).verdict is Verdict.SEND
    assert decide(late, Facts(), at(22, 22, 30)).until == at(23, 8)
    shabbat = Request(SERVICE, "voice", agreed_for=at(28, 12))
    assert decide(shabbat, Facts(), at(28, 12)).until == at(29, 8)
    after = Request(SERVICE, "voice", agreed_for=at(28, 21, 15))
    assert decide(after, Facts(), at(28, 21, 20)).verdict is Verdict.SEND


def test_a_removal_is_confirmed_at_once_and_only_then():
    night = at(28, 2)
    refused = Facts(consents=(Consent(AD, ANY, None, revoked_at=night),), suppressed=True)
    confirmation = Request(Purpose.REMOVAL, "sms", asked_at=night)
    assert decide(confirmation, refused, night).reasons == ("removal",)
    assert decide(confirmation, refused, night + timedelta(hours=1)).reasons == ("removal_late",)
    assert decide(replace(confirmation, asked_at=None), refused, night).verdict is Verdict.BLOCKED


def test_the_limits_wait_for_the_next_day_that_has_room():
    facts = Facts(consents=(agreed(),), sent_to_contact={date(2026, 11, 22): 3, date(2026, 11, 23): 3})
    decision = decide(Request(AD, "sms"), facts, NOON)
    assert (decision.until, decision.reasons) == (at(24, 8), ("cap_contact",))
    facts = Facts(consents=(agreed(),), sent_by_channel={date(2026, 11, 22): 200})
    assert decide(Request(AD, "sms"), facts, NOON).reasons == ("cap_day",)
    assert decide(ASKED, facts, NOON).verdict is Verdict.SEND  # who waits for it does not count as a campaign


def test_what_would_be_too_late_is_blocked_now():
    ends = Consent(AD, "sms", at(1), expires_at=at(22, 23))
    decision = decide(Request(AD, "sms"), Facts(consents=(ends,)), at(22, 22))
    assert (decision.verdict, decision.reasons) == (Verdict.BLOCKED, ("expired", "quiet_hours"))


def test_every_rule_has_words_and_a_source():
    for code, rule in RULES.items():
        assert explained(code, "he") != explained(code, "en")
        assert rule.source, code


# ---- what holds for all

moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))
channels = st.sampled_from(["sms", "whatsapp", "email", "voice"])
some = st.none() | moments
consents = st.lists(
    st.builds(Consent, st.sampled_from([AD, SERVICE]), st.sampled_from(["sms", "voice", ANY]), some, some, some),
    max_size=4,
).map(tuple)
days = st.dates(date(2026, 1, 1), date(2027, 6, 1))
counts = st.dictionaries(days, st.integers(0, 5), max_size=6)
hours = st.tuples(st.times(), st.times()).map(sorted).map(tuple)
facts_ = st.builds(
    Facts,
    week=st.dictionaries(st.integers(0, 6), hours, max_size=7) | st.just({6: (time(8), time(21))}),
    rest=st.dictionaries(days, st.just("חג"), max_size=20),
    consents=consents,
    suppressed=st.booleans(),
    refused_at=some,
    last_inbound_at=some,
    sent_to_contact=counts,
    sent_by_channel=counts,
    dnc=st.none() | st.builds(DncCheck, moments, st.booleans()),
    rules=st.builds(
        ChannelRules, st.none() | st.just(timedelta(hours=24)), st.booleans(), st.booleans()
    ),
)  # fmt: skip
requests = st.builds(
    Request, st.sampled_from(list(Purpose)), channels, some, some, st.booleans(), st.booleans(), st.booleans()
)  # fmt: skip
GO = (Verdict.SEND, Verdict.TEMPLATE)


@given(requests, facts_, moments)
def test_the_same_question_has_the_same_answer_and_reasons(request_, facts, now):
    decision = decide(request_, facts, now)
    assert decision == decide(request_, facts, now)
    assert decision.reasons
    assert set(decision.reasons) <= RULES.keys()
    assert (decision.until is not None) == (decision.verdict is Verdict.WAIT_UNTIL)


@given(requests, facts_, moments)
def test_a_moment_that_is_waited_for_is_allowed(request_, facts, now):
    decision = decide(request_, facts, now)
    if decision.until is not None:
        assert decision.until > now
        assert decide(request_, facts, decision.until).verdict in GO


@given(requests, facts_, moments)
def test_who_refused_gets_nothing_whoever_approves(request_, facts, now):
    stands = standing(facts.consents, request_.purpose, request_.channel, now)
    since = request_.reply and facts.refused_at and facts.last_inbound_at and facts.last_inbound_at > facts.refused_at
    refused = stands is Standing.REVOKED or facts.suppressed
    if refused and (request_.purpose is AD or (request_.purpose is SERVICE and not since)):
        assert decide(request_, facts, now).verdict is Verdict.BLOCKED


@given(facts_, moments, channels)
def test_no_advertisement_without_a_consent_in_force(facts, now, channel):
    decision = decide(Request(AD, channel, approved=True), facts, now)
    if decision.verdict in GO:
        assert standing(facts.consents, AD, channel, now) is Standing.GIVEN


@given(facts_, moments, channels)
def test_an_owner_is_told_whatever_a_caller_refuses(facts, now, channel):
    notice = Request(OWNER, channel)
    free = replace(facts, consents=(), suppressed=False, dnc=None)
    assert decide(notice, facts, now) == decide(notice, free, now)
    if facts.rules.free_window is None:
        assert decide(notice, facts, now).verdict is Verdict.SEND


@given(facts_, moments, channels, st.sampled_from([AD, SERVICE]))
def test_a_refusal_ends_what_was_given_before_it(facts, now, channel, purpose):
    ended = replace(facts, consents=(*facts.consents, Consent(purpose, ANY, None, revoked_at=now)))
    assert standing(ended.consents, purpose, channel, now) is Standing.REVOKED


@given(facts_, moments)
def test_nobody_is_called_in_the_night_of_shabbat(facts, now):
    here = now.astimezone(HERE)
    if here.weekday() == 5 and here.time() < time(21):
        request_ = Request(SERVICE, "voice", agreed_for=now, approved=True)
        assert decide(request_, facts, now).verdict not in GO
