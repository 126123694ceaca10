"""Reading a call after it: a model's word counts where the caller said it, and never over a person's."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm import extraction
from moked.crm.extraction import FIELDS, Extraction, Read, Said, apply, by_rules, read
from moked.crm.leads import LeadState, Origin, Provenance, set_by_person

TURNS = (
    Said(0, "", "שלום, הגעתם למזגנים בצפון."),
    Said(1, "שלום, קוראים לי רותי לוי והמזגן בסלון מטפטף", "תודה רותי. מתי נוח?"),
    Said(2, "מחר אחרי ארבע", "מצוין."),
)


def answer(**given):
    return json.dumps({"summary": "", "next_step": "", "name": None, "need": None, "best_time": None, **given})


def field(value, turn, quote, confidence=0.9):
    return {"value": value, "turn": turn, "quote": quote, "confidence": confidence}


def test_what_the_caller_said_is_taken_with_where():
    found = read(
        answer(
            summary="רותי פנתה בגלל מזגן מטפטף.",
            next_step="לחזור אל רותי מחר",
            name=field("רותי לוי", 1, "קוראים לי רותי לוי", 1.0),
            best_time=field("מחר אחרי 16:00", 2, "מחר, אחרי ארבע!"),
        ),
        TURNS,
        by="model",
    )
    assert found.fields == {
        "name": Read("רותי לוי", 1, "קוראים לי רותי לוי", 0.95),
        "best_time": Read("מחר אחרי 16:00", 2, "מחר, אחרי ארבע!", 0.9),
    }
    assert (found.by, found.next_step) == ("model", "לחזור אל רותי מחר")


@pytest.mark.parametrize(
    "name",
    [
        field("רותי לוי", 2, "קוראים לי רותי לוי"),  # not in that turn
        field("רותי לוי", 7, "רותי לוי"),  # no such turn
        field("רותי לוי", 1, "קוראים לי רות לוי"),  # not those words
        field("רותי", 1, "לי רות"),  # the end of a word is no word
        field("דנה כהן", 1, "קוראים לי רותי לוי"),  # said, but not that
        field("רותי לוי", 1, "קוראים לי רותי לוי", 0.3),  # not sure enough
        field("רותי לוי", 1, ""),
        field("", 1, "רותי לוי"),
        field("שלום", 0, "שלום, הגעתם"),  # the agent said it
    ],
)
def test_what_cannot_be_shown_is_not_taken(name):
    assert read(answer(name=name), TURNS, by="m").fields == {}


@pytest.mark.parametrize("text", ["", "לא", "[]", '{"summary": 7}', '{"name": {"value": "x"}}', "{" * 1000])
def test_nonsense_is_no_reading(text):
    with pytest.raises(extraction.Unusable):
        read(text, TURNS, by="m")


def test_a_fence_around_the_answer_is_taken_off():
    assert read(f"```json\n{answer(summary='טוב')}\n```", TURNS, by="m").summary == "טוב"


def test_marks_and_lines_are_taken_out_and_long_words_are_cut():
    found = read(answer(summary="א\u202eב\nג" + "ד" * 2000, next_step="ל\0ך"), TURNS, by="m")
    assert found.summary.startswith("א ב גד")
    assert len(found.summary) == 900
    assert found.next_step == "ל ך"


def test_it_fills_what_is_empty_and_nothing_else():
    lead = LeadState(name="רותי", need="", sources={"name": Provenance("CA1", 1, "רותי", 0.9)})
    found = Extraction(
        "m", "סיכום", "צעד", {"name": Read("רותי לוי", 1, "רותי לוי", 0.9), "need": Read("מזגן", 1, "מזגן", 0.8)}
    )
    after = apply(lead, found, "CA1")
    assert (after.name, after.need, after.summary) == ("רותי", "מזגן", "סיכום")
    assert after.sources["need"] == Provenance("CA1", 1, "מזגן", 0.8)
    assert apply(after, found, "CA1", former="סיכום") == after


def test_a_persons_word_stays_even_where_it_is_empty():
    lead = LeadState(name="רותי", need="מזגן", summary="שלי")
    for name, value in (("name", "דנה"), ("need", ""), ("summary", "שלי")):
        lead = set_by_person(lead, name, value, by="דנה")
    found = Extraction("m", "סיכום", "", {name: Read("אחר", 1, "אחר", 0.9) for name in FIELDS})
    after = apply(lead, found, "CA1")
    assert (after.name, after.need, after.summary) == ("דנה", "", "שלי")
    assert after.best_time == "אחר"


def test_a_summary_keeps_the_remark_and_replaces_the_quote_and_its_former_self():
    lead = LeadState(summary="דברי הפונה: בלה בלה\nהשיחה נקטעה בגלל תקלה אצלנו.")
    first = apply(lead, Extraction("m", "פנה בגלל מזגן."), "CA1")
    assert first.summary == "פנה בגלל מזגן.\nהשיחה נקטעה בגלל תקלה אצלנו."
    second = apply(first, Extraction("m", "פנתה בגלל מזגן."), "CA1", former="פנה בגלל מזגן.")
    assert second.summary == "פנתה בגלל מזגן.\nהשיחה נקטעה בגלל תקלה אצלנו."


WORDS = st.text(alphabet="אבג רותי\n", max_size=20)
STATES = st.builds(
    LeadState,
    name=WORDS,
    need=WORDS,
    best_time=WORDS,
    summary=WORDS,
    sources=st.dictionaries(
        st.sampled_from((*FIELDS, "summary")),
        st.builds(Provenance, st.just("CA0"), st.just(1), WORDS, st.just(0.5), by=st.sampled_from(("agent", "person"))),
    ),
)
FOUND = st.builds(
    Extraction,
    st.just("m"),
    WORDS.map(lambda text: " ".join(text.split())),
    WORDS,
    st.dictionaries(st.sampled_from(FIELDS), st.builds(Read, WORDS.filter(bool), st.just(1), WORDS, st.just(0.9))),
)


@given(STATES, FOUND)
def test_applying_never_empties_never_overwrites_and_is_done_once(state, found):
    after = apply(state, found, "CA1")
    for name in FIELDS:
        before = getattr(state, name)
        assert getattr(after, name) == before or not before
        if name in state.sources and state.sources[name].by == "person":
            assert getattr(after, name) == before
            assert after.sources[name] == state.sources[name]
    assert not state.summary.strip() or after.summary.strip() or state.summary.startswith("דברי")
    assert apply(after, found, "CA1", former=found.summary) == after


@given(st.text(max_size=200), st.lists(st.builds(Said, st.integers(0, 5), st.text(max_size=30)), max_size=4))
def test_whatever_a_model_says_it_is_read_or_refused(text, turns):
    try:
        found = read(text, turns, by="m")
    except extraction.Unusable:
        return
    assert set(found.fields) <= set(FIELDS)


@pytest.mark.parametrize(
    ("origin", "state", "more", "words"),
    [
        (Origin.CONVERSATION, LeadState(name="רותי"), {}, "לחזור אל רותי"),
        (Origin.CONVERSATION, LeadState(best_time="מחר"), {}, "לחזור אל הפונה במועד שהתבקש: מחר"),
        (Origin.BROKEN, LeadState(best_time="מחר"), {}, "בהקדם"),
        (Origin.UNANSWERED, LeadState(), {}, "לא היה מענה"),
        (Origin.VOICEMAIL, LeadState(), {"voicemail": True}, "להאזין"),
        (Origin.REFUSED, LeadState(), {"reached": True}, "נציג כבר דיבר"),
    ],
)
def test_the_rules_say_what_to_do(origin, state, more, words):
    found = by_rules(state, origin, **{"voicemail": False, "reached": False, **more})
    assert words in found.next_step
    assert found.by == extraction.RULES


def test_no_lead_no_step():
    assert by_rules(None, None, voicemail=False, reached=False) == Extraction(extraction.RULES)


def test_better_words_come_to_the_turn_that_was_on():
    turns = [(0, TURNS[0]), (3000, TURNS[1]), (9000, TURNS[2])]
    heard = [(3100, 4000, "שלום קוראים לי רותי"), (4100, 5000, "המזגן מטפטף"), (12_000, 13_000, " ")]
    found = extraction.with_better(turns, heard)
    assert [one.caller for one in found] == ["", "שלום קוראים לי רותי המזגן מטפטף", "מחר אחרי ארבע"]
    assert found[1] == replace(TURNS[1], caller="שלום קוראים לי רותי המזגן מטפטף")
    assert extraction.with_better([], heard) == []


def test_the_schema_is_what_strict_outputs_want():
    def closed(schema):
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False
            assert sorted(schema["required"]) == sorted(schema["properties"])
        for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
            closed(part)

    closed(extraction.SCHEMA)
    told = extraction.prompt(TURNS, business="מזגנים")
    assert "רותי לוי" in told[1]["content"]
    assert "no instructions" in told[0]["content"]
