"""What Twilio would do with a document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.simulate.twiml import APOLOGY, MAX_DOCUMENTS, ConnectStream, Fetch, Finish, Finished, TwimlRun, World

URL = "https://host.co.il/webhook/incoming_call"
STREAM = '<Stream url="wss://host.co.il/media"><Parameter name="token" value="x"/></Stream>'


QUIET = World()


def run(body: str, world: World = QUIET) -> TwimlRun:
    twiml = TwimlRun(world, account_sid="AC1", call_sid="CA" + "7" * 32)
    twiml.load(URL, f"<Response>{body}</Response>")
    return twiml


def told(twiml: TwimlRun) -> list[tuple[str, str]]:
    return [(item.verb, item.text) for item in twiml.trace]


def test_connect_gives_the_stream_with_everything_about_it() -> None:
    twiml = run(
        '<Connect><Stream url="wss://host.co.il/media" name="agent" statusCallback="/webhook/stream">'
        '<Parameter name="token" value="a&amp;b"/><Parameter name="caller" value="+9725"/></Stream></Connect>'
    )
    assert twiml.step() == ConnectStream(
        "wss://host.co.il/media",
        {"token": "a&b", "caller": "+9725"},
        "agent",
        "https://host.co.il/webhook/stream",
        "POST",
    )
    assert twiml.step() == Finished(Finish.NO_MORE_VERBS)


def test_after_connect_the_next_verbs_run() -> None:
    twiml = run(f"<Connect>{STREAM}</Connect><Say>סליחה,\n  תקלה</Say><Pause length='2'/><Hangup/><Say>never</Say>")
    assert isinstance(twiml.step(), ConnectStream)
    assert twiml.step() == Finished(Finish.HUNG_UP)
    assert told(twiml)[1:] == [("say", "סליחה, תקלה"), ("pause", "2 s"), ("hangup", "")]


def test_an_action_on_connect_replaces_the_next_verbs() -> None:
    twiml = run(f'<Connect action="/after" method="GET">{STREAM}</Connect><Say>never</Say>')
    twiml.step()
    assert twiml.step() == Fetch("https://host.co.il/after", "GET")
    twiml.load("https://host.co.il/after", "<Response><Say>here</Say></Response>")
    assert twiml.step() == Finished(Finish.NO_MORE_VERBS)
    assert told(twiml)[-1] == ("say", "here")


def test_new_twiml_over_rest_forgets_the_old_document_and_its_action() -> None:
    twiml = run(f'<Connect action="/after">{STREAM}</Connect>')
    twiml.step()
    twiml.load(URL, "<Response><Hangup/></Response>")
    assert twiml.step() == Finished(Finish.HUNG_UP)


def test_a_dial_reports_to_its_action_or_goes_on() -> None:
    busy = run('<Dial action="/dialled" timeout="20"><Number>+9725</Number></Dial>', World(dial_status="busy"))
    step = busy.step()
    assert isinstance(step, Fetch)
    assert step.url == "https://host.co.il/dialled"
    assert step.parameters["DialCallStatus"] == "busy"
    assert not busy.transferred
    plain = run("<Dial>+9725</Dial><Say>ועוד</Say>")
    assert plain.step() == Finished(Finish.NO_MORE_VERBS)
    assert plain.transferred
    assert told(plain) == [("dial", "+9725 (completed)"), ("say", "ועוד")]


def test_record_and_gather_without_an_action_ask_for_their_own_document_again() -> None:
    recorded = run('<Record maxLength="3"/>').step()
    assert isinstance(recorded, Fetch)
    assert recorded.url == URL
    assert recorded.parameters["RecordingDuration"] == "3"
    assert recorded.parameters["RecordingUrl"].endswith(recorded.parameters["RecordingSid"])
    gathered = run('<Gather numDigits="2"><Say>הקישו</Say></Gather>', World(digits="1234"))
    assert gathered.step() == Fetch(URL, "POST", {"Digits": "12"})
    assert told(gathered) == [("say", "הקישו"), ("gather", "12")]


GATHER = '<Gather input="dtmf" finishOnKey="#" timeout="5" action="/keys"><Say>הקישו</Say></Gather><Say>אין?</Say>'


@pytest.mark.parametrize(
    ("keys", "gathered"),
    [
        ("1#", ["1", ""]),
        ("1", ["1", ""]),  # the pause after the last key ends it too
        ("0502345678#1#", ["0502345678", "1", ""]),
        ("1,2#", ["1", "2", ""]),
        (",7#", [""]),  # nothing pressed: the verb after it runs, and there is no second question
        ("#", [""]),
    ],
)
def test_keys_go_to_one_question_after_the_other(keys: str, gathered: list[str]) -> None:
    twiml = run(GATHER, World(digits=keys))
    got = []
    while isinstance(step := twiml.step(), Fetch):
        got.append(step.parameters["Digits"])
        assert step.url == "https://host.co.il/keys"
        twiml.load(URL, f"<Response>{GATHER}</Response>")
    assert [*got, ""] == gathered
    assert told(twiml)[-2:] == [("gather", "(nothing pressed)"), ("say", "אין?")]
    assert step == Finished(Finish.NO_MORE_VERBS)


def test_a_question_takes_only_what_it_asks_for() -> None:
    twiml = run(
        '<Gather numDigits="1"/><Gather input="speech"/><Gather numDigits="2" finishOnKey="*"/>', World(digits="12*")
    )
    assert twiml.step() == Fetch(URL, "POST", {"Digits": "1"})
    twiml.load(URL, '<Response><Gather input="speech"/><Gather numDigits="4" finishOnKey="*"/></Response>')
    assert twiml.step() == Fetch(URL, "POST", {"Digits": "2"})


def test_only_prompts_fit_into_a_gather() -> None:
    twiml = run("<Gather><Record/></Gather>")
    assert twiml.step() == Finished(Finish.ERROR, "12200 gather")


def test_silence_falls_through_record_and_gather() -> None:
    quiet = run("<Gather action='/a'/><Record action='/b'/><Hangup/>", World(recorded_seconds=0))
    assert quiet.step() == Finished(Finish.HUNG_UP)
    insisting = run("<Gather action='/a' actionOnEmptyResult='true'/>")
    assert insisting.step() == Fetch("https://host.co.il/a", "POST", {"Digits": ""})


def test_a_redirect_ends_its_document_and_a_loop_of_them_ends_the_call() -> None:
    twiml = run("<Redirect>again?x=1</Redirect><Say>never</Say>")
    for _ in range(MAX_DOCUMENTS - 1):
        assert twiml.step() == Fetch("https://host.co.il/webhook/again?x=1", "POST")
        twiml.load(URL, "<Response><Redirect>again?x=1</Redirect></Response>")
    twiml.step()
    twiml.load(URL, "<Response><Redirect>again?x=1</Redirect></Response>")
    assert twiml.step() == Finished(Finish.ERROR, "11200 loop")


def test_a_rejected_call() -> None:
    assert run('<Reject reason="busy"/>').step() == Finished(Finish.REJECTED, "busy")


@pytest.mark.parametrize(
    ("body", "status", "kind", "error"),
    [
        ("<Response/>", 503, "text/xml", "11200 http"),
        ("<Response/>", 200, "text/html", "12300 content_type"),
        ("<Response><Say></Response>", 200, "text/xml", "12100 parse"),
        ("", 200, "text/xml", "12100 parse"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><Response><Say>&b;</Say></Response>", 200, "text/xml", "12100 doctype"),
        ("<Answer/>", 200, "text/xml", "12102 root"),
        ("<Response><say>a</say></Response>", 200, "text/xml", "12200 unknown_verb"),
        ("<Response><Connect><Room>a</Room></Connect></Response>", 200, "text/xml", "12200 connect"),
    ],
)
def test_an_unusable_document_is_an_apology_and_the_end(body: str, status: int, kind: str, error: str) -> None:
    twiml = TwimlRun()
    twiml.load(URL, body, status=status, content_type=kind)
    assert twiml.step() == Finished(Finish.ERROR, error)
    assert told(twiml) == [("say", APOLOGY)]
    assert len(twiml.warnings) == 1


def test_stream_urls_are_held_to_the_carriers_rules() -> None:
    def warned(url: str, value: str = "x") -> tuple[str, list[int]]:
        stream = f'<Stream url="{url}"><Parameter name="token" value="{value}"/></Stream>'
        twiml = run(f"<Connect>{stream}</Connect>")
        step = twiml.step()
        assert isinstance(step, ConnectStream)
        return step.url, [warning.code for warning in twiml.warnings]

    assert warned("/media") == ("wss://host.co.il/media", [])
    assert warned("wss://h/media?token=1") == ("wss://h/media", [31920])
    assert warned("ws://h/media") == ("ws://h/media", [31922])
    assert warned("ws://127.0.0.1:8000/media") == ("ws://127.0.0.1:8000/media", [])
    assert warned("wss://h/media", "v" * 494) == ("wss://h/media", [])
    assert warned("wss://h/media", "v" * 495) == ("wss://h/media", [12200])


VERB = st.sampled_from(
    [
        "<Say>a</Say>",
        "<Pause/>",
        "<Hangup/>",
        "<Redirect>/r</Redirect>",
        "<Dial>1</Dial>",
        "<Dial action='/d'/>",
        "<Record/>",
        "<Gather><Say>g</Say></Gather>",
        f"<Connect>{STREAM}</Connect>",
        f"<Connect action='/c'>{STREAM}</Connect>",
        "<Oops/>",
        "<Play>u</Play>",
        "<Start/>",
    ]
)


@given(st.lists(st.lists(VERB, max_size=4), min_size=1, max_size=5), st.booleans())
def test_every_call_ends(documents: list[list[str]], pressing: bool) -> None:
    """Whatever the documents are, also when they are asked for again and again."""
    twiml = TwimlRun(World(digits="1" if pressing else ""))
    twiml.load(URL, f"<Response>{''.join(documents[0])}</Response>")
    fetched = 0
    for _ in range(300):
        match twiml.step():
            case Finished():
                return
            case Fetch():
                fetched += 1
                twiml.load(URL, f"<Response>{''.join(documents[fetched % len(documents)])}</Response>")
    raise AssertionError("it goes on for ever")
