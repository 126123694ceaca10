"""Reading a call with a model, over the real wire, and what happens where it gives nothing."""

import json

import pytest
from anyio import from_thread

from emulators.llm import Answer, Fault, LlmEmulator
from moked.crm.extraction import SCHEMA, Said
from moked.errors import Failure, ProviderError
from moked.jobs import Step, after_call
from moked.jobs.attempt import attempt
from moked.jobs.summarise import Reader, _bounded
from tests.crm.test_after import Office
from tests.serving import serving

TURNS = [Said(1, "קוראים לי רותי לוי והמזגן מטפטף", "מתי נוח?")]


def reading(body):
    """A model that reads what it was given."""
    told = json.loads(body["messages"][1]["content"])
    assert told["transcript"][0]["turn"] >= 0
    name = {"value": "רותי לוי", "turn": 1, "quote": "קוראים לי רותי לוי", "confidence": 0.9}
    found = {"summary": "פנתה בגלל מזגן.", "next_step": "", "name": name, "need": None, "best_time": None}
    return Answer(json.dumps(found, ensure_ascii=False))


@pytest.fixture(scope="module")
def llm():
    emulator = LlmEmulator(brain=reading, first_token_ms=1, tokens_per_s=10_000)
    with (
        from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(emulator.app())) as url,
    ):
        emulator.url = f"{url}/v1"
        yield emulator


@pytest.fixture
def reader(llm):
    llm.faults.clear()
    return Reader(model="emulated", api_key="k", base_url=llm.url, within_s=2)


def test_a_call_is_read(reader, llm):
    found = reader.read(TURNS, business="מזגנים")
    assert found.fields["name"].value == "רותי לוי"
    assert found.summary == "פנתה בגלל מזגן."
    assert llm.requests[-1]["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    "fault", [Fault(status=500), Fault(status=400), Fault(cut_after=1), Fault(garbage=True), Fault(stall_after=0)]
)
def test_where_it_gives_nothing_there_is_no_reading(reader, llm, fault):
    reader._within_s = 0.5
    llm.faults.append(fault)
    assert reader.read(TURNS, business="מזגנים") is None


def test_what_is_no_json_is_no_reading(llm, reader, monkeypatch):
    monkeypatch.setattr(llm, "brain", lambda body: Answer("אין לי מושג"))
    assert reader.read(TURNS, business="מזגנים") is None


def test_of_a_long_call_the_beginning_and_the_end_are_read():
    turns = [Said(number, "מ" * 500, "ת" * 500) for number in range(100)]
    kept = _bounded(turns)
    assert [one.turn for one in kept] == [*range(12), *range(88, 100)]
    assert _bounded(TURNS) == TURNS


# --- the step -------------------------------------------------------------------------------------------------------


class Parts:
    """Everybody else's steps, as they are told of calls."""

    def __init__(self):
        self.told = []

    def parts(self):
        def tell(name):
            return lambda sid: self.told.append((name, sid))

        names = ("notice", "announce", "follow_up", "store_recording")
        return after_call.Parts(**{name: tell(name) for name in names})


def steps(office, parts=None, reader=None):
    work, again = after_call.work(office.after, parts or after_call.Parts(), reader)
    assert [step.name for step in again.steps] == ["read"]
    return {step.name: step for step in work.steps}


def test_the_model_reads_and_the_rules_say_what_it_leaves_out(engine, reader):
    office = Office(engine)
    office.call(said="קוראים לי רותי לוי והמזגן מטפטף")
    result = steps(office, reader=reader)["read"].run({"call": "CA1"})
    assert result == {"lead": office.lead().id, "by": "emulated"}
    letter = office.after.letter("CA1")
    assert (letter.name, letter.summary, letter.next_step) == ("רותי לוי", "פנתה בגלל מזגן.", "לחזור אל הפונה")


def test_without_a_usable_answer_rules_read(engine, reader, llm):
    office = Office(engine)
    office.call()
    llm.faults.append(Fault(status=500))
    assert steps(office, reader=reader)["read"].run({"call": "CA1"})["by"] == "rules"
    assert office.after.letter("CA1").next_step == "לחזור אל הפונה"


def test_nothing_is_asked_about_a_silent_call(engine, reader, llm):
    office = Office(engine)
    office.call(said="", caller="anonymous")
    before = len(llm.requests)
    assert steps(office, reader=reader)["read"].run({"call": "CA1"}) == {"lead": None, "by": "rules"}
    assert len(llm.requests) == before
    assert steps(office)["read"].run({"call": "CA404"}) == {}, "erased in the meantime"


def test_everybody_is_told_of_the_call(engine):
    office, others = Office(engine), Parts()
    office.call()
    found = steps(office, others.parts())
    assert list(found) == ["read", "notice", "announce", "follow_up", "recording"]
    for step in found.values():
        step.run({"call": "CA1"})
    assert others.told == [(n, "CA1") for n in ("notice", "announce", "follow_up", "store_recording")]


# --- one attempt ------------------------------------------------------------------------------------------------------


def failing(*errors):
    waiting = list(errors)

    def run(given):
        if waiting:
            raise waiting.pop(0)
        return "fine"

    return run


@pytest.mark.parametrize(
    ("errors", "outcome", "pauses"),
    [
        ([], {"ok": "fine"}, []),
        ([TimeoutError()], {"ok": "fine"}, [0.5]),
        ([ConnectionResetError()] * 3, {"failed": "unavailable"}, [0.5, 1.0]),
        ([ProviderError("x", Failure.AUTH, "no")], {"failed": "auth"}, []),
        ([ValueError("ours")] * 3, {"failed": "bug"}, [0.5, 1.0]),
        ([TimeoutError(), ProviderError("x", Failure.QUOTA, "")], {"ok": "fine"}, [0.5, 1.0]),
    ],
)
def test_a_step_is_tried_again_where_that_may_help(errors, outcome, pauses):
    paused, slow = [], []
    step = Step("s", failing(*errors))
    assert attempt(step, {}, key="k", pause=paused.append, slow=lambda: slow.append(1)) == outcome
    assert paused == pauses
    assert len(slow) == (1 if pauses else 0)


def test_no_such_step_any_more():
    assert attempt(None, {}, key="k", pause=lambda s: None) == {"failed": "unknown"}
