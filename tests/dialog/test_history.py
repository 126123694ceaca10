"""What was not heard is not in it."""

from hypothesis import given
from hypothesis import strategies as st

from moked.dialog import Entry, Speaker
from moked.dialog.history import History


def caller(text: str) -> Entry:
    return Entry(Speaker.CALLER, text)


def agent(text: str, *, cut: bool = False) -> Entry:
    return Entry(Speaker.AGENT, text, cut)


def test_a_conversation_in_order() -> None:
    history = History()
    history.heard(0, "שלום, במה אפשר לעזור?", cut=False)
    history.caller(1, "יש לי נזילה")
    history.heard(1, "הבנתי.", cut=False)
    history.heard(1, "הבנתי. עם מי אני מדבר?", cut=False)  # more of the same answer was heard
    history.caller(2, "דני")
    assert history.entries == (
        agent("שלום, במה אפשר לעזור?"),
        caller("יש לי נזילה"),
        agent("הבנתי. עם מי אני מדבר?"),
        caller("דני"),
    )
    assert history.caller_words == ("יש לי נזילה", "דני")


def test_a_cut_answer_ends_where_the_caller_stopped_hearing() -> None:
    history = History()
    history.caller(1, "כמה זה עולה?")
    history.heard(1, "ביקור עולה", cut=True)
    assert history.entries[-1] == agent("ביקור עולה", cut=True)


def test_an_answer_nobody_heard_leaves_nothing() -> None:
    history = History()
    history.caller(1, "רגע")
    history.heard(1, "  ", cut=True)
    assert history.entries == (caller("רגע"),)


def test_a_reopened_turn_comes_once() -> None:
    history = History()
    history.caller(1, "אני צריך")
    history.withdraw(1)
    assert history.entries == ()
    history.caller(1, "אני צריך אינסטלטור")
    assert history.entries == (caller("אני צריך אינסטלטור"),)
    history.withdraw(7)


def test_it_is_bounded() -> None:
    history = History(turns=3)
    for turn in range(5):
        history.caller(turn, f"{turn}")
    assert [entry.text for entry in history.entries] == ["2", "3", "4"]
    assert history.forgotten == 2


events = st.lists(
    st.tuples(st.sampled_from(["caller", "heard", "withdraw"]), st.integers(0, 5), st.text(max_size=8), st.booleans()),
    max_size=40,
)


@given(events)
def test_the_history_is_what_was_heard_last_of_each_turn(moves: list[tuple[str, int, str, bool]]) -> None:
    history = History()
    said: dict[int, str] = {}
    heard: dict[int, str] = {}
    for move, turn, text, cut in moves:
        match move:
            case "caller":
                history.caller(turn, text)
                said[turn] = text.strip()
            case "heard":
                history.heard(turn, text, cut=cut)
                heard[turn] = text.strip()
            case _:
                history.withdraw(turn)
                said.pop(turn, None)
                heard.pop(turn, None)
    texts = [entry.text for entry in history.entries if entry.speaker is Speaker.AGENT]
    assert sorted(texts) == sorted(text for text in heard.values() if text)
    assert sorted(history.caller_words) == sorted(text for text in said.values() if text)
    assert all(entry.text for entry in history.entries)
