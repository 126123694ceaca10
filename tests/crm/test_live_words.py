"""Who watches a call sees no card or identity number, however it is dictated, and everything else as it was said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.live_words import LiveWords
from moked.crm.redaction import Policy
from tests.crm.test_redaction import CARD, ID, spoken

GROUPS = [CARD[:4], CARD[4:8], CARD[8:12], CARD[12:]]


def words(**policy):
    return LiveWords(Policy(**policy))


def shown(live, event, text, **more):
    return live.shown(event, {"text": text, **more})["text"]


def test_a_number_is_hidden_while_it_grows_and_never_comes_back():
    live = words()
    seen = [shown(live, "turn.partial", f"הכרטיס שלי {spoken(CARD[:size])}".strip() + " בבקשה") for size in range(17)]
    assert seen[2:] == ["הכרטיס שלי " + spoken(CARD[:2]) + " בבקשה"] + ["הכרטיס שלי [כרטיס] בבקשה"] * 14
    assert shown(live, "turn.committed", f"הכרטיס שלי {CARD} בבקשה", turn=1, dtmf="") == "הכרטיס שלי [כרטיס] בבקשה"


def test_a_number_over_several_turns_with_the_agent_in_between():
    live = words()
    assert shown(live, "reply.text", "מה מספר הכרטיס?", turn=1) == "מה מספר הכרטיס?"
    for number, group in enumerate(GROUPS):
        assert shown(live, "turn.partial", group) == "[כרטיס]"
        assert shown(live, "turn.committed", group, turn=number, dtmf="") == "[כרטיס]"
        assert shown(live, "turn.final", group) == "[כרטיס]"
        assert shown(live, "reply.text", "כן", turn=number) == "כן"
    assert shown(live, "reply.heard", f"אז {spoken(CARD)}?", turn=9, cut=False) == "אז [כרטיס]?"


def test_without_a_word_for_it_no_more_than_its_beginning_is_seen():
    live = words()
    seen = " ".join(shown(live, "turn.partial", CARD[:size]) for size in range(1, 17))
    assert CARD[:9] not in seen
    assert shown(live, "turn.final", CARD) == "[כרטיס]"


def test_an_identity_number_that_is_asked_for_and_typed():
    live = words()
    shown(live, "reply.text", "מה מספר תעודת הזהות?", turn=1)
    told = live.shown("turn.committed", {"text": "", "turn": 1, "dtmf": ID})
    assert told == {"text": "", "turn": 1, "dtmf": "[ת״ז]"}


@pytest.mark.parametrize(
    "text",
    [
        "קוראים לי דני",
        "הטלפון שלי 052-1234567",
        "אפס חמש שתיים, אחת שתיים שלוש ארבע חמש שש שבע",
        "מספר הרכב 12-345-67",
        "אפשר לקבוע למחר בשעה שתיים וחצי או בשלוש",
        "זה עלה אלף ומאתיים שקל, בתשלום אחד",
        "",
    ],
)
@pytest.mark.parametrize("event", ["turn.partial", "turn.final", "turn.committed", "reply.text"])
def test_all_else_is_shown_as_it_was_said(event, text):
    data = {"text": text, "at_ms": 1}
    assert words().shown(event, data) is data


def test_a_number_of_the_callers_is_no_secret_and_the_business_may_show_them():
    abroad = words(keep=frozenset({"+442071234567"}))
    assert shown(abroad, "turn.final", "442071234567") == "442071234567"
    assert shown(words(cards=False, ids=False), "turn.final", f"הכרטיס {CARD}") == f"הכרטיס {CARD}"


def test_events_without_words_pass():
    data = {"outcome": "completed", "text": CARD}
    assert words().shown("call.ended", data) is data


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["turn.partial", "turn.final", "turn.committed", "reply.text", "reply.heard"]),
            st.text(alphabet="הכרטיס אפס שלוש0123456789*#.,-²٣", max_size=40),
        ),
        max_size=12,
    )
)
def test_nothing_breaks_it_and_what_is_shown_has_no_digit_that_was_not_said(events):
    live = words()
    for event, text in events:
        assert sum(map(str.isdecimal, shown(live, event, text))) <= sum(map(str.isdecimal, text))
