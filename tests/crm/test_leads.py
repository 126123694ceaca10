"""The rules: a lead or a reason for every call, and merging that forgets nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm import leads
from moked.crm.leads import (
    CallFacts,
    IllegalMove,
    LeadState,
    LeadWanted,
    NoLead,
    Origin,
    Stage,
    decide,
    follow_up,
    merge,
    move,
)
from moked.records import FieldSource, LeadDraft, Outcome

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DANA = "+972501234567"
OFFICE = "+97235551234"

texts = st.sampled_from(["", "דנה", "תיקון מזגן", "מזגן", "הצעת מחיר", "x" * 900])
phones = st.sampled_from(["", DANA, OFFICE])
drafts = st.builds(
    LeadDraft,
    name=texts,
    phone=phones,
    need=texts,
    best_time=texts,
    summary=texts,
    extra=st.dictionaries(st.sampled_from(["city", "floor"]), st.sampled_from(["חיפה", "3"])),
    sources=st.dictionaries(
        st.sampled_from(["name", "phone", "need"]), st.builds(FieldSource, st.integers(0, 9), texts, st.just(0.8))
    ),
    phone_confirmed=st.booleans(),
)
facts = st.builds(
    CallFacts,
    call_sid=st.sampled_from(["CA1", "CA2"]),
    outcome=st.sampled_from(Outcome),
    phone=phones,
    draft=drafts,
    said=texts,
    pressed=st.sampled_from(["", "1"]),
    voicemail=st.booleans(),
    transfer_failed=st.booleans(),
)
wanted = st.builds(LeadWanted, st.sampled_from(Origin), st.sampled_from(["", leads.BROKE, leads.WAS_REFUSED]))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (CallFacts("CA1", Outcome.CALLER_HUNG_UP, phone=DANA), NoLead.NO_SPEECH),
        (CallFacts("CA1", Outcome.COMPLETED, phone=DANA), NoLead.SPAM_OR_SILENCE),
        (CallFacts("CA1", Outcome.REFUSED), NoLead.REFUSED_OVERLOAD),
        (CallFacts("CA1", Outcome.BROKEN), NoLead.BROKEN_WITHHELD),
        (CallFacts("CA1", Outcome.NO_STREAM), NoLead.BROKEN_WITHHELD),
        (CallFacts("CA1", Outcome.CALLER_HUNG_UP, said="הלו"), NoLead.NOTHING_TO_FOLLOW_UP),
        (CallFacts("CA1", Outcome.REFUSED, phone=DANA), LeadWanted(Origin.REFUSED, leads.WAS_REFUSED)),
        (CallFacts("CA1", Outcome.BROKEN, phone=DANA), LeadWanted(Origin.BROKEN, leads.BROKE)),
        (CallFacts("CA1", Outcome.NO_STREAM, phone=DANA), LeadWanted(Origin.BROKEN, leads.NEVER_STARTED)),
        (CallFacts("CA1", Outcome.CALLER_HUNG_UP, phone=DANA, said="הלו"), LeadWanted(Origin.CONVERSATION)),
        (CallFacts("CA1", Outcome.COMPLETED, phone=DANA, pressed="1"), LeadWanted(Origin.CONVERSATION)),
        (CallFacts("CA1", Outcome.COMPLETED, draft=LeadDraft(need="מזגן")), LeadWanted(Origin.CONVERSATION)),
        (
            CallFacts("CA1", Outcome.BROKEN, voicemail=True),
            LeadWanted(Origin.BROKEN, f"{leads.BROKE} {leads.LEFT_MESSAGE}"),
        ),
        (
            CallFacts("CA1", Outcome.TRANSFERRED, phone=DANA, transfer_failed=True),
            LeadWanted(Origin.UNANSWERED, leads.NOBODY_ANSWERED),
        ),
    ],
)
def test_what_makes_a_lead(facts, expected):
    assert decide(facts) == expected


@given(facts)
def test_every_call_leaves_a_lead_or_a_reason_and_the_same_one_again(facts):
    answer = decide(facts)
    assert isinstance(answer, LeadWanted | NoLead)
    assert decide(facts) == answer
    if facts.phone and facts.outcome in (Outcome.BROKEN, Outcome.NO_STREAM, Outcome.REFUSED):
        assert isinstance(answer, LeadWanted)
        assert answer.remark  # what we broke, we say


@given(st.none() | st.builds(merge, st.none(), facts, wanted), facts, wanted)
def test_merging_a_call_twice_changes_nothing_and_empties_nothing(old, facts, wanted):
    once = merge(old, facts, wanted)
    assert merge(once, facts, wanted) == once
    before = old or LeadState()
    for name in ("name", "phone", "need", "best_time", "summary"):
        assert getattr(once, name) or not getattr(before, name)
    assert set(before.extra) <= set(once.extra)
    assert once.confirmed or not before.confirmed
    assert not wanted.remark or wanted.remark in once.summary


@given(
    st.sampled_from(["name", "phone", "need", "best_time", "summary"]), st.lists(st.tuples(facts, wanted), max_size=3)
)
def test_what_a_person_wrote_stays(name, calls):
    state = leads.set_by_person(LeadState(name="דנה"), name, "נכתב ביד")
    for facts, wanted in calls:
        state = merge(state, facts, wanted)
    assert getattr(state, name) == "נכתב ביד"


def test_a_guessed_phone_does_not_hide_the_callers_number_and_is_not_lost():
    guess = LeadDraft(need="מזגן", phone="+972521111111")
    state = merge(None, CallFacts("CA1", Outcome.COMPLETED, phone=DANA, draft=guess), LeadWanted(Origin.CONVERSATION))
    assert (state.phone, state.confirmed, state.extra["phone_unconfirmed"]) == (DANA, False, "+972521111111")
    assert "phone" not in state.sources


def test_a_confirmed_phone_wins_and_stays():
    sure = LeadDraft(phone=OFFICE, phone_confirmed=True, sources={"phone": FieldSource(3, "שלוש חמש", 0.9)})
    state = merge(None, CallFacts("CA1", Outcome.COMPLETED, phone=DANA, draft=sure), LeadWanted(Origin.CONVERSATION))
    again = merge(state, CallFacts("CA2", Outcome.BROKEN, phone=DANA), LeadWanted(Origin.BROKEN, leads.BROKE))
    assert (again.phone, again.confirmed, again.sources["phone"].turn) == (OFFICE, True, 3)
    assert leads.BROKE in again.summary


def test_a_second_need_joins_the_first():
    talk = LeadWanted(Origin.CONVERSATION)
    state = None
    for need in ("תיקון מזגן", "הצעת מחיר", "מזגן"):
        state = merge(state, CallFacts("CA1", Outcome.COMPLETED, draft=LeadDraft(need=need)), talk)
    assert state is not None
    assert state.need == "תיקון מזגן; הצעת מחיר"


def test_words_stand_in_for_a_summary():
    state = merge(
        None,
        CallFacts("CA1", Outcome.BROKEN, phone=DANA, said="שלום, המזגן נוזל"),
        LeadWanted(Origin.BROKEN, leads.BROKE),
    )
    assert state.summary == f"דברי הפונה: שלום, המזגן נוזל\n{leads.BROKE}"


@given(facts, wanted, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9))
def test_a_callback_is_never_due_in_the_past(facts, wanted, asked, opening):
    def at(hours):
        return None if hours is None else NOW + timedelta(hours=hours)

    facts = replace(facts, draft=replace(facts.draft, callback_at=at(asked)))
    todo = follow_up(facts, wanted, now=NOW, opening=at(opening))
    if todo is None:
        assert facts.outcome is Outcome.TRANSFERRED
    else:
        assert todo.due_at >= NOW
        if asked is not None and asked > 0:
            assert todo.due_at == at(asked)


def test_a_lead_moves_only_where_the_table_says():
    assert move(Stage.NEW, Stage.MEETING) is Stage.MEETING
    assert move(Stage.WON, Stage.WON) is Stage.WON
    for frm, to in [(Stage.IN_PROGRESS, Stage.NEW), (Stage.WON, Stage.MEETING), (Stage.LOST, Stage.WON)]:
        with pytest.raises(IllegalMove):
            move(frm, to)


@pytest.mark.parametrize(
    ("caller", "number"),
    [
        (DANA, DANA),
        (" +97235551234", OFFICE),
        ("anonymous", ""),
        ("+266696687", ""),
        ("*2700", ""),
        ("client:dana", ""),
        ("", ""),
    ],
)
def test_who_can_be_called_back(caller, number):
    assert leads.caller_phone(caller) == number
