"""The story of a call as it is shown: pure functions of a result."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from moked.simulate.bidi import LRI, PDI, RLI, isolate
from moked.simulate.labels import LANGUAGES
from moked.simulate.live import LiveView
from moked.simulate.measure import TurnResult
from moked.simulate.report import Bar, as_dict, plain_report, rich_report, waterfall
from moked.simulate.result import CallResult, Ended, StreamEnd, StreamRun
from moked.simulate.twiml import Experienced
from moked.simulate.wire import CarrierWarning, MarkEcho

MOMENTS = {
    "speech_end_ms": 5000,
    "transcript_ms": 5300,
    "endpoint_ms": 5410,
    "llm_first_ms": 5350,  # speculative: begun before the turn was committed
    "tts_first_ms": 5600,
    "sent_ms": 5604,
    "heard_ms": 6900,
    "response_ms": 604,
}
REPORT: Mapping[str, Any] = {
    "ended": True,
    "turns": [
        {"number": 0, "caller_text": "", "heard": "שלום, הגעתם למוקד.", "cut": False, "started_ms": 0, "waterfall": {}},
        {
            "number": 1,
            "caller_text": "נוזל לי הברז במטבח",
            "heard": "אני רושם. מה",
            "cut": True,
            "started_ms": 3000,
            "waterfall": MOMENTS,
        },
    ],
    "lead": {
        "name": "דנה כהן",
        "phone": "+972501234567",
        "need": "נזילה במטבח",
        "best_time": "",
        "summary": "תיקון ברז",
        "extra": {"עיר": "חולון"},
    },
}
TURN = TurnResult(1, "cut_in", "נוזל לי הברז", 3000, 5000, True, False, 5604, 5604, 5640, 3180)
RESULT = CallResult(
    call_sid="CA1",
    ended=Ended.TRANSFERRED,
    detail="no_more_verbs",
    duration_ms=9400,
    greeting_ms=120,
    greeting_heard_ms=180,
    turns=(TURN, TurnResult(2, "dtmf", "05", 7000, 7200, False, True, None, None, None, None)),
    streams=(StreamRun("MZ1", "ws://x/media", 0, 9400, StreamEnd.LOST, "1006"),),
    twiml=(Experienced("connect", "ws://x/media"), Experienced("say", "סליחה, תקלה."), Experienced("dial", "+972")),
    heard=(),
    said=(),
    marks=(MarkEcho("a", 1, 2, False),),
    warnings=(CarrierWarning(31951, "json", "not JSON", 400), CarrierWarning(11200, "callback", "answered 500")),
    refused={"json": 3},
    late_ms=90,
    report=REPORT,
)


def shown(result: CallResult, *, width: int = 100, language: str = "en") -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(rich_report(result, language=language))
    return out.getvalue()


def test_a_stage_adds_only_what_it_took_longer_and_the_sum_is_the_response() -> None:
    (bar,) = waterfall(REPORT)
    assert bar == Bar(1, (("turn_end", 410), ("agent", 0), ("voice", 190), ("sending", 4)))
    assert bar.total_ms == MOMENTS["response_ms"]


def test_turns_without_a_caller_or_a_reply_have_no_bar() -> None:
    assert waterfall(None) == ()
    assert waterfall({"turns": [{"number": 1, "waterfall": {**MOMENTS, "sent_ms": None}}]}) == ()
    late = {**MOMENTS, "transcript_ms": 9999}
    (bar,) = waterfall({"turns": [{"number": 1, "waterfall": late}]})
    assert bar.total_ms == 604


def test_hebrew_lines_are_isolated_one_by_one_and_signs_stay_with_their_numbers() -> None:
    assert isolate("plain") == "plain"
    assert isolate("שלום") == RLI + "שלום" + PDI
    assert isolate("טלפון +972501234567") == f"{RLI}טלפון {LRI}+972501234567{PDI}{PDI}"
    assert isolate("ל-050-1234567") == f"{RLI}ל-050-1234567{PDI}"
    long = replace(RESULT, report={**REPORT, "turns": [{"number": 1, "caller_text": "שלום וברכה " * 20}]})
    text = shown(long, width=60)
    hebrew = [line for line in text.splitlines() if "וברכה" in line]
    assert len(hebrew) > 3
    assert all(line.count(RLI) == line.count(PDI) == 1 for line in hebrew)


@pytest.mark.parametrize("language", ["en", "he"])
def test_the_report_tells_everything(language: str) -> None:
    words = LANGUAGES[language]
    for text in (shown(RESULT, language=language), plain_report(RESULT, language=language)):
        for wanted in (
            "נוזל לי הברז במטבח",
            "אני רושם. מה",
            "דנה כהן",
            "+972501234567",
            "חולון",
            "604 ms",
            "180 ms",  # cutting in: 3180 - 3000
            "סליחה, תקלה.",
            "31951",
            words["cut"],
            words["talked_over"],
            words["refused"],
            words["busy"],
            words["ended_transferred"],
        ):
            assert wanted in text, wanted


def test_both_languages_have_the_same_words() -> None:
    assert LANGUAGES["en"].keys() == LANGUAGES["he"].keys()


def test_the_bars_are_as_long_as_the_time_they_stand_for() -> None:
    turns = [{"number": n, "waterfall": {**MOMENTS, "sent_ms": 5604 * n - 5000 * (n - 1)}} for n in (1, 2)]
    lines = shown(replace(RESULT, report={"ended": True, "turns": turns})).splitlines()
    lengths = [sum(line.count(pattern) for pattern in "█▓▒░") for line in lines if "█" in line]
    assert lengths[:2] == [20, 40]
    assert "410 + 0 + 190 + 4 = 604 ms" in "\n".join(lines)


def test_a_call_without_a_lead_says_why_and_one_without_a_report_says_so() -> None:
    none = replace(RESULT, report={"ended": True, "turns": [], "lead": None, "lead_missing_reason": "silent_caller"})
    assert "silent_caller" in shown(none)
    assert "silent_caller" in plain_report(none)
    unknown = replace(RESULT, report=None)
    assert "gave no report" in shown(unknown)
    assert "gave no report" in plain_report(unknown)


def test_plain_text_has_no_marks_and_json_is_json() -> None:
    assert not set(plain_report(RESULT)) & {RLI, LRI, PDI, "\x1b"}
    told = json.loads(json.dumps(as_dict(RESULT)))
    assert told["turns"][0]["response_ms"] == 604
    assert told["figures"]["barge_in_ms"] == {"count": 1, "median": 180, "max": 180}
    assert told["figures"]["response_ms"]["max"] == 604
    assert told["streams"][0]["how"] == "lost"
    assert told["report"]["lead"]["name"] == "דנה כהן"


EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("call.started", {"at_ms": 0}),
    ("turn.partial", {"at_ms": 900, "text": "נוזל"}),
    ("turn.final", {"at_ms": 1500, "text": "נוזל לי הברז", "engine": "google"}),
    ("engine", {"at_ms": 1600, "before": "google", "after": "whisper", "reason": "unavailable"}),
    ("reply.text", {"at_ms": 1900, "turn": 1, "text": "אני רושם. מה השם?"}),
    ("turn.latency", {"at_ms": 2000, "turn": 1, "response_ms": 604}),
    ("reply.heard", {"at_ms": 2300, "turn": 1, "text": "אני רושם.", "cut": True}),
    ("reply.heard", {"at_ms": 2900, "turn": 2, "text": "כן?", "cut": False}),
    ("resync", {}),
    ("something.new", {"text": "x"}),
]


def test_live_lines_in_a_pipe_leave_interims_out() -> None:
    out = io.StringIO()
    with LiveView(Console(file=out, width=40)) as view:
        for event, data in EVENTS:
            view(event, data)
    lines = out.getvalue().splitlines()
    assert [line.strip().split(":")[0] for line in lines] == [
        "1.5  caller",
        "1.6  hearing",
        "1.9  agent",
        "2.0  answered",
        "2.3  agent",
        "2.9  agent",
        "missed",
    ]
    assert lines[0].endswith("נוזל לי הברז")


def test_a_resync_at_the_very_beginning_says_nothing() -> None:
    out = io.StringIO()
    with LiveView(Console(file=out)) as view:
        view("resync", {})
    assert out.getvalue() == ""


def test_live_lines_in_a_terminal_show_interims_until_the_final() -> None:
    out = io.StringIO()
    with LiveView(Console(file=out, width=60, force_terminal=True, color_system=None)) as view:
        for event, data in EVENTS:
            view(event, data)
    assert "נוזל …" in out.getvalue()
    assert RLI + "נוזל לי הברז" + PDI in out.getvalue()
