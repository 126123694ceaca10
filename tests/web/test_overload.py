"""A caller nobody has a line for: what they hear, what their keys do, and one lead however often Twilio asks."""

import xml.etree.ElementTree as ET

import pytest

from moked import telephony
from moked.crm import leads
from moked.simulate.twiml import Fetch, Finish, Finished, TwimlRun, World
from tests.web.conftest import BASE

OWN = "+972501234567"
OFFICE = "+97235551234"


class Refused:
    """The carrier's place in a refused call: the real app's TwiML, acted out."""

    def __init__(self, office, keys="", caller=OWN, **world):
        office.node.setdefault("capacity", 0)
        self.office, self.caller = office, caller
        self.twiml = TwimlRun(World(digits=keys, **world), account_sid="AC1", call_sid="CA1")

    def run(self, times=1):
        step, asked = Fetch(f"{BASE}/webhook/incoming_call", "POST"), []
        while isinstance(step, Fetch):
            for _ in range(times):  # Twilio asks again where an answer was slow
                answer = self.office.post(step.url, From=self.caller, **step.parameters)
            self.twiml.load(step.url, answer.text, status=answer.status_code, content_type=answer.mimetype)
            asked.append(step.url.removeprefix(f"{BASE}/webhook/"))
            step = self.twiml.step()
        assert step == Finished(Finish.HUNG_UP)
        assert self.twiml.warnings == ()
        return asked

    @property
    def heard(self):
        return " ".join(item.text for item in self.twiml.trace if item.verb == "say")

    @property
    def report(self):
        for _ in range(2):  # the work after it, which may be done twice
            self.office.crm.settle_refused("CA1")
        report = self.office.crm.call_report("CA1")
        assert report is not None
        assert (report["ended"], report["outcome"]) == (True, "refused")
        return report


@pytest.mark.parametrize(
    ("node", "reason", "words"),
    [
        ({"capacity": 0}, "overload", telephony.ALL_BUSY),
        ({"accepting": False}, "overload", telephony.ALL_BUSY),
        ({"draining": True}, "draining", telephony.CANNOT_NOW),
    ],
)
def test_who_does_nothing_is_told_kindly_and_called_back_all_the_same(office, node, reason, words):
    office.node = {"capacity": 9, **node}
    call = Refused(office, recorded_seconds=0)
    assert call.run(times=2) == ["incoming_call"]
    assert call.heard.startswith(words)
    for offer in (telephony.OFFER_THIS_NUMBER, telephony.OFFER_OTHER_NUMBER, telephony.OFFER_MESSAGE):
        assert offer in call.heard
    assert telephony.OFFER_PERSON not in call.heard
    assert call.report["detail"] == reason
    assert (call.report["lead"]["origin"], call.report["lead"]["phone"]) == ("refused", OWN)
    assert [task["note"] for task in call.report["tasks"]] == [leads.WAS_REFUSED]
    assert office.counted[0] == ("incoming_call", reason)


def test_no_media_process_at_all(office):
    office.options["here"] = lambda: None
    call = Refused(office, recorded_seconds=0)
    call.run()
    assert (call.heard.startswith(telephony.CANNOT_NOW), call.report["detail"]) == (True, "no_media")


def test_one_key_asks_to_be_called_back_here(office):
    call = Refused(office, "1#")
    assert call.run(times=3) == ["incoming_call", "callback_request?asked=1"]
    assert call.heard.endswith(telephony.WILL_CALL_BACK)
    (task,) = call.report["tasks"]
    assert task["note"] == f"{leads.WAS_REFUSED} {leads.ASKED_BACK.format(number='0501234567')}"
    assert call.report["lead"]["summary"] == task["note"]
    assert [event["kind"] for event in call.report["events"]] == ["callback_request"]


def test_another_number_is_read_back_and_becomes_the_leads(office):
    call = Refused(office, "035557777#")
    assert call.run(times=2) == ["incoming_call", "callback_request?asked=1"]
    assert "0 3, 5 5 5, 7 7, 7 7" in call.heard
    lead = call.report["lead"]
    assert (lead["phone"], lead["confirmed"]) == ("+97235557777", True)
    assert [task["note"].rsplit(maxsplit=1)[-1] for task in call.report["tasks"]] == ["035557777."]


def test_a_number_typed_again_corrects_the_first(office):
    call = Refused(office, "0521111111#0522222222#0521111111#1#")
    asked = call.run(times=2)
    assert asked == ["incoming_call", *(f"callback_request?asked={n}{s}" for n, s in
                                        ((1, ""), (2, "&said=1"), (3, "&said=1"), (4, "&said=1")))]  # fmt: skip
    assert call.heard.endswith(telephony.GOODBYE)  # "1" agrees to the number that was read, and changes nothing
    assert call.report["lead"]["phone"] == "+972521111111"
    assert len(call.report["tasks"]) == 1


def test_a_withheld_caller_is_asked_for_a_number(office):
    call = Refused(office, "0523334444#", caller="anonymous")
    call.run(times=2)
    assert telephony.OFFER_NUMBER in call.heard
    assert telephony.OFFER_THIS_NUMBER not in call.heard
    assert (call.report["lead"]["phone"], len(call.report["tasks"])) == ("+972523334444", 1)


def test_a_withheld_caller_who_types_nothing_may_leave_a_message(office):
    call = Refused(office, caller="anonymous")
    assert call.run(times=2) == ["incoming_call", "voicemail"]
    assert len(call.report["lead"]["notes"]) == 1


def test_a_withheld_caller_who_leaves_nothing_is_nobody(office):
    call = Refused(office, caller="anonymous", recorded_seconds=0)
    call.run()
    assert (call.report["lead"], call.report["lead_missing_reason"]) == (None, "refused_overload")


def test_what_is_no_number_is_asked_for_again_and_then_a_message_is_taken(office):
    call = Refused(office, "12345#1#")
    assert call.run() == ["incoming_call", "callback_request?asked=1", "callback_request?asked=2"]
    assert telephony.NOT_A_NUMBER in call.heard
    assert call.report["lead"]["phone"] == OWN
    office.post("call_status", CallStatus="completed")
    stubborn = Refused(office, "12#34#56#78#")
    assert stubborn.run()[-1] == "voicemail"
    assert stubborn.heard.count(telephony.NOT_A_NUMBER) == 3


def test_a_person_is_offered_while_there_is_one(office):
    office.options.update(person=lambda: OFFICE, transfer_number=lambda: OFFICE)
    call = Refused(office, "0#")
    assert call.run(times=2) == ["incoming_call", "callback_request?asked=1", "dial_result"]
    assert telephony.OFFER_PERSON in call.heard
    assert [item.text for item in call.twiml.trace if item.verb == "dial"] == [f"{OFFICE} (completed)"]
    assert all(task["done_at"] for task in call.report["tasks"])  # somebody talks to them already
    assert leads.REACHED in call.report["lead"]["summary"]


def test_a_person_who_does_not_answer_leaves_the_callback_open(office):
    office.options.update(person=lambda: OFFICE, transfer_number=lambda: OFFICE)
    call = Refused(office, "0#", dial_status="no-answer", recorded_seconds=0)
    call.run(times=2)
    assert telephony.NOBODY_FREE in call.heard
    (task,) = call.report["tasks"]
    assert (task["done_at"], leads.NOBODY_ANSWERED in task["note"]) == (None, True)


def test_nobody_is_sent_to_a_person_who_has_gone_home(office):
    call = Refused(office, "0#1#")
    call.run()
    assert not [item for item in call.twiml.trace if item.verb == "dial"]
    assert telephony.WILL_CALL_BACK in call.heard


def test_the_twiml_is_what_twilio_takes(office):
    office.node = {"capacity": 0}
    gather = ET.fromstring(office.post("incoming_call").data)[0]
    assert gather.attrib == {
        "input": "dtmf",
        "finishOnKey": "#",
        "timeout": "5",
        "action": f"{BASE}/webhook/callback_request?asked=1",
        "method": "POST",
    }
    assert [child.tag for child in gather] == ["Say"]
    assert gather[0].get("language") == "he-IL"


def test_a_request_of_a_call_nobody_knows_is_no_error(office):
    assert office.post(f"{BASE}/webhook/callback_request?asked=1", CallSid="CA9", Digits="1").status_code == 200
