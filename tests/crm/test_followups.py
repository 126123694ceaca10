"""Who is told what after a call: the rules, and the follow-up itself on both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import MessageState
from moked.channels.policy import ChannelRules, Purpose
from moked.channels.wishes import DETAILS, OPT_OUT, YES
from moked.crm import consents
from moked.crm.aftercall import FollowUps
from moked.crm.followups import TEXTS, WORDS, Ended, Target, WrongText, checked, fill, plan
from moked.crm.leads import Origin
from moked.crm.service import Crm
from moked.crm.tables_policy import ConsentRow, OutboundMessage
from moked.records import CallEnd, CallStart, FieldSource, LeadDraft, Outcome, TurnRecord

NOW = datetime(2026, 11, 28, 1, 0, tzinfo=UTC)  # the night of a Saturday
PHONE = "+972502345678"
OWNER = Target("sms", "+972541112233")
LINKS = {"lead": "https://desk/leads/7", "call": "https://desk/calls/CA1"}
CALL = Ended(
    "CA1", "מזגנים בצפון", NOW, PHONE, 7, Origin.CONVERSATION, "רותי לוי", "המזגן מטפטף", "מחר אחרי ארבע",
    next_step="לחזור עד 29.11 בשעה 09:00", links=LINKS,
)  # fmt: skip


def test_the_owner_hears_who_what_and_what_next():
    (notice,) = plan(CALL, [OWNER], {})
    assert (notice.channel, notice.to, notice.purpose) == ("sms", OWNER.to, Purpose.OWNER_NOTICE)
    assert notice.text == (
        "פנייה חדשה: רותי לוי\nטלפון: 050-2345678\nהמזגן מטפטף\nהצעד הבא: לחזור עד 29.11 בשעה 09:00\n"
        "https://desk/leads/7"
    )


def test_without_a_channel_of_the_owner_it_is_on_the_desk():
    assert [message.channel for message in plan(CALL, [], {})] == ["desk"]


def test_the_caller_gets_what_was_promised_where_it_was_agreed():
    _, details = plan(replace(CALL, agreed=("whatsapp",), about="רחוב האורגים 12, חולון"), [], {})
    assert (details.channel, details.to, details.purpose, details.asked_at) == ("whatsapp", PHONE, Purpose.SERVICE, NOW)
    assert details.text.splitlines() == [
        "שלום רותי לוי, כאן מזגנים בצפון.",
        "תודה על השיחה. רשמנו: המזגן מטפטף",
        "נחזור אליך: מחר אחרי ארבע",
        "רחוב האורגים 12, חולון",
        "להסרה אפשר להשיב: הסר",
    ]


@pytest.mark.parametrize("origin", [Origin.BROKEN, Origin.REFUSED])
def test_whom_we_could_not_serve_is_told_that_we_call_back(origin):
    notice, missed = plan(replace(CALL, origin=origin), [OWNER], {})
    assert notice.text.startswith("שיחה שלא טופלה: רותי לוי")
    assert (missed.channel, missed.purpose) == ("sms", Purpose.SERVICE)
    assert "לא הצלחנו לענות" in missed.text


def test_who_opted_out_a_withheld_number_and_a_rehearsal_get_nothing():
    for change in ({"opted_out": True}, {"phone": ""}, {"rehearsal": True}):
        told = plan(replace(CALL, origin=Origin.BROKEN, agreed=("sms",), **change), [], {})
        assert [message.to_owner for message in told] == [True], change
    assert [one.channel for one in plan(replace(CALL, rehearsal=True), [OWNER], {})] == ["desk"]
    assert plan(replace(CALL, lead_id=None), [OWNER], {}) == ()


def test_the_owners_own_words_are_used():
    assert plan(CALL, [OWNER], {"notice": "ליד! {name}"})[0].text == "ליד! רותי לוי"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("notice", "  ", "empty"),
        ("notice", "א" * 1001, "long"),
        ("notice", "שלום {unknown}", "word"),
        ("notice", "שלום {name", "word"),
        ("details", "שלום, כאן {business}", "removal"),
        ("details", "להסרה: הסר", "removal"),
    ],
)
def test_a_wording_that_cannot_be_used_says_why(name, text, why):
    with pytest.raises(WrongText, match=why):
        checked(name, text)


def test_the_packaged_wording_is_usable():
    for name, text in TEXTS.items():
        assert checked(name, text) == text


@given(st.sampled_from(sorted(TEXTS)), st.dictionaries(st.sampled_from(sorted(WORDS)), st.text(max_size=30)))
def test_no_placeholder_and_no_empty_promise_is_left(name, values):
    text = fill(TEXTS[name], {key: value.replace("{", "").replace("}", "") for key, value in values.items()})
    assert "{" not in text
    for line in text.splitlines():
        assert line != "נחזור אליך:"


# ---- the follow-up itself


@pytest.fixture
def office(engine):
    return Office(engine)


class Office:
    def __init__(self, engine):
        self.now, self.engine = NOW, engine
        self.crm = Crm(engine, clock=lambda: self.now)
        self.business = self.crm.ensure_business("מזגנים בצפון")
        about = {self.business: "חולון"}.get
        self.ups = FollowUps(engine, base_url=lambda: "https://desk", about=about, clock=lambda: self.now)

    def call(self, sid="CA1", *, extra=None, words="המזגן מטפטף", outcome=Outcome.COMPLETED, **start):
        self.crm.open_call(CallStart(sid, "AC1", PHONE, "+97235551234", **start), self.business)
        self.crm.redeem_ticket(self.crm.mint_ticket(sid), sid)
        self.crm.add_turn(sid, TurnRecord(3, words, "בסדר", "בסדר", False, 42_000, 45_000))
        sources = {f"extra.{name}": FieldSource(3, words, 0.9) for name in extra or {}}
        lead = LeadDraft(name="רותי לוי", need="המזגן מטפטף", extra=extra or {}, sources=sources)
        return self.crm.finish_call(CallEnd(sid, outcome, "agent_hangup", 60_000, lead))

    def notify(self, *targets):
        with Session(self.engine) as session, session.begin():
            row = consents.settings_of(session, self.business, self.now)
            row.notify = [{"channel": channel, "to": to} for channel, to in targets]

    def rows(self, table):
        with Session(self.engine) as session:
            return session.scalars(select(table).order_by(table.id)).all()


def test_a_call_is_followed_up_once(office):
    office.notify(("sms", OWNER.to), ("email", "dana@example.com"))
    office.call()
    office.ups.follow_up("CA1")
    office.ups.follow_up("CA1")
    notices = office.rows(OutboundMessage)
    assert [(one.channel, one.to, one.state) for one in notices] == [
        ("sms", OWNER.to, MessageState.QUEUED),
        ("email", "dana@example.com", MessageState.QUEUED),
    ]
    assert notices[1].text.endswith(f"https://desk/leads/{office.crm.call_report('CA1')['lead']['id']}")


def test_a_yes_in_the_call_is_a_consent_with_its_place_in_the_recording(office):
    office.call(extra={DETAILS["sms"]: YES}, words="כן, תשלחו לי")
    done = office.ups.follow_up("CA1")
    assert done.consents == 1
    (row,) = office.rows(ConsentRow)
    assert (row.purpose, row.channel, row.how, row.call_sid, row.offset_ms, row.text) == (
        Purpose.SERVICE, "sms", "call", "CA1", 42_000, "כן, תשלחו לי",
    )  # fmt: skip
    (details,) = [one for one in office.rows(OutboundMessage) if one.contact_id is not None]
    assert (details.state, details.reasons) == (MessageState.QUEUED, ["asked", "consent", "reply"])
    assert office.ups.follow_up("CA1").consents == 0


@pytest.mark.parametrize(
    "call", [{"words": "תסירו אותי מהרשימה"}, {"extra": {OPT_OUT: YES}}, {"words": "אל תתקשרו אליי יותר"}]
)
def test_a_refusal_in_the_call_ends_it_all(office, call):
    extra = {**call.get("extra", {}), DETAILS["sms"]: YES}
    office.call(**{**call, "extra": extra})
    done = office.ups.follow_up("CA1")
    assert done.opted_out
    assert [one.contact_id for one in office.rows(OutboundMessage)] == [None]  # the owner is told all the same
    office.ups.follow_up("CA1")
    assert [row.given_at is None for row in office.rows(ConsentRow)] == [False, True]
    with Session(office.engine) as session, session.begin():
        assert consents.suppressed(session, office.business, PHONE)


def test_a_call_we_broke_is_answered_by_a_text_even_at_night(office):
    office.call(outcome=Outcome.BROKEN)
    office.ups.follow_up("CA1")
    (missed,) = [one for one in office.rows(OutboundMessage) if one.contact_id is not None]
    assert (missed.state, missed.reasons, missed.due_at) == (MessageState.QUEUED, ["reply"], NOW)
    assert missed.text.startswith("שלום, כאן מזגנים בצפון.")


@pytest.mark.parametrize(
    ("rules", "channels"),
    [
        ({"sms": ChannelRules(), "whatsapp": ChannelRules(cold_ok=False)}, ["whatsapp", "sms"]),
        ({"sms": ChannelRules()}, ["whatsapp", "sms"]),
        ({"sms": ChannelRules(), "whatsapp": ChannelRules(templates=True)}, ["whatsapp"]),
        ({"whatsapp": ChannelRules(cold_ok=False)}, ["whatsapp"]),
    ],
)
def test_details_go_by_text_message_where_whatsapp_must_not_begin(office, rules, channels):
    office.ups = FollowUps(office.engine, base_url=lambda: "", rules=rules, clock=lambda: office.now)
    office.call(extra={DETAILS["whatsapp"]: YES}, words="כן, בוואטסאפ")
    office.ups.follow_up("CA1")
    office.ups.follow_up("CA1")
    assert [one.channel for one in office.rows(OutboundMessage) if one.contact_id is not None] == channels


def test_an_owner_is_told_on_whatsapp_by_a_template_where_free_text_is_over(office):
    """One line: a template's place takes no line breaks (Meta, message templates)."""
    rules = {"whatsapp": ChannelRules(free_window=timedelta(hours=24), templates=True)}
    office.notify(("whatsapp", OWNER.to))
    office.call()
    FollowUps(office.engine, base_url=lambda: "https://desk", rules=rules, clock=lambda: office.now).follow_up("CA1")
    (held,) = office.rows(OutboundMessage)
    assert (held.state, held.reason) == (MessageState.BLOCKED, "window_closed")
    office.call("CA2")
    FollowUps(
        office.engine, base_url=lambda: "https://desk", rules=rules, owner_template="lead", clock=lambda: office.now
    ).follow_up("CA2")
    sent = office.rows(OutboundMessage)[-1]
    assert (sent.state, sent.template) == (MessageState.QUEUED, "lead")
    (line,) = sent.template_values
    assert "\n" not in line
    assert "https://desk/leads/" in line


def test_a_rehearsal_tells_nobody_outside(office):
    office.notify(("sms", OWNER.to))
    office.call(extra={DETAILS["sms"]: YES}, simulated=True)
    office.ups.follow_up("CA1")
    assert [one.channel for one in office.rows(OutboundMessage)] == ["desk"]
    assert office.rows(ConsentRow) == []


def test_a_call_that_runs_is_not_followed_up(office):
    office.crm.open_call(CallStart("CA2", "AC1", PHONE, "+97235551234"), office.business)
    for sid in ("CA2", "CA3"):
        with pytest.raises(LookupError):
            office.ups.follow_up(sid)
