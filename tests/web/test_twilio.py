"""The webhooks as Twilio calls them, signed, over the real app."""

import logging
import xml.etree.ElementTree as ET

import pytest

from moked import telephony
from moked.crm.service import NextStep, Step
from moked.records import CallEnd, CallStart, LeadDraft, Outcome
from moked.telephony import sign
from moked.web import Office
from tests.web.conftest import BASE, TOKEN


def verbs(answer):
    assert answer.status_code == 200
    assert answer.mimetype == "text/xml"
    return list(ET.fromstring(answer.data))


def tags(answer):
    return [verb.tag for verb in verbs(answer)]


def parameters(answer):
    return {each.get("name"): each.get("value") for each in verbs(answer)[0][0]}


# ---- the gate


@pytest.mark.parametrize(
    ("headers", "reason"),
    [({}, "no_signature"), ({"X-Twilio-Signature": "AAAA"}, "wrong_signature")],
)
@pytest.mark.parametrize(
    "name",
    ["incoming_call", "callback_request", "call_status", "stream_status", "resume", "dial_result", "voicemail"],
)
def test_unsigned_is_refused_logged_and_counted(office, caplog, name, headers, reason):
    with caplog.at_level(logging.WARNING):
        answer = office.client().post(f"/webhook/{name}", data={"CallSid": "CA1"}, headers=headers)
    assert answer.status_code == 403
    assert office.counted == [("webhook_refused", reason)]
    assert caplog.records[0].reason == reason
    assert office.crm.call_report("CA1") is None


def test_without_a_token_of_our_own_nobody_is_let_in(office):
    office.options["auth_token"] = ""
    assert office.post("incoming_call").status_code == 403
    assert office.counted == [("webhook_refused", "no_auth_token")]


def test_the_address_comes_from_configuration_not_from_headers(office):
    form = {"CallSid": "CA1"}
    forged = sign(TOKEN, "https://evil.example.com/webhook/incoming_call", form)
    headers = {"X-Twilio-Signature": forged, "Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com"}
    assert office.client().post("/webhook/incoming_call", data=form, headers=headers).status_code == 403


def test_query_repeated_fields_and_sharedkey_algorithm_are_signed_too(office):
    url = f"{BASE}/webhook/incoming_call?a=%D7%90&b=1"
    form = {"CallSid": "CA1", "From": "+972501234567", "Z": ["2", "1"]}
    headers = {
        "X-Twilio-Signature": sign(TOKEN, url, form, algorithm="HMAC_SHA256"),
        "X-Twilio-Webhooks-Signature-Settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
    }
    answer = office.client().post("/webhook/incoming_call?a=%D7%90&b=1", data=form, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("sid", ["", "../x", "א", "x" * 65])
def test_a_request_that_names_no_call_is_told_so(office, sid):
    answer = office.post("incoming_call", CallSid=sid)
    assert answer.status_code == 400
    assert "CallSid" in answer.text
    assert answer.mimetype == "text/plain"


def test_other_methods_and_giants_are_refused_in_plain_text(office):
    assert office.client().get("/webhook/incoming_call").status_code == 405
    answer = office.post("incoming_call", Filler="x" * 70_000)
    assert answer.status_code == 413
    assert answer.mimetype == "text/plain"
    assert office.client().get("/nowhere").mimetype == "text/plain"


# ---- an incoming call


def test_an_incoming_call_opens_the_stream(office):
    answer = office.post("incoming_call")
    assert tags(answer) == ["Connect", "Redirect"]
    connect, redirect = verbs(answer)
    assert (connect.attrib, redirect.text) == ({}, f"{BASE}/webhook/resume")
    assert connect[0].get("url") == "wss://phone.example.com/media/twilio"
    assert connect[0].get("statusCallback") == f"{BASE}/webhook/stream_status"
    given = parameters(answer)
    assert (given["caller"], given["called"]) == ("+972501234567", "+97235551234")
    assert office.crm.redeem_ticket(given["token"], "CA1") == CallStart("CA1", "AC1", "+972501234567", "+97235551234")
    assert office.counted == [("incoming_call", "admitted")]


def test_twilio_may_ask_again_and_gets_a_fresh_ticket(office):
    first, second = (parameters(office.post("incoming_call"))["token"] for _ in range(2))
    assert first != second
    assert isinstance(office.crm.redeem_ticket(second, "CA1"), CallStart)


def test_a_withheld_caller_and_a_rehearsal(office):
    given = parameters(office.post("incoming_call", From="", MokedSimulated="true", To="x" * 900))
    assert given["caller"] == "anonymous"
    report = office.crm.call_report("CA1")
    assert report is not None
    assert report["simulated"] is True
    assert len(report["called"]) == 128


# ---- after the stream


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.COMPLETED, ["Hangup"]),
        (Outcome.TRANSFERRED, ["Say", "Dial"]),
        (Outcome.BROKEN, ["Say", "Dial"]),
        (None, ["Say", "Dial"]),
    ],
)
def test_after_the_stream_the_call_goes_on_as_it_ended(office, outcome, expected):
    office.options["transfer_number"] = lambda: "+97235551234"
    office.post("incoming_call")
    if outcome:
        office.crm.finish_call(CallEnd("CA1", outcome, "x", 1, LeadDraft()))
    answer = office.post("resume")
    assert tags(answer) == expected
    assert (telephony.APOLOGY in answer.text) == (outcome in (Outcome.BROKEN, None))


def test_a_call_whose_stream_ends_goes_on_where_somebody_serves(office):
    office.options["transfer_number"] = lambda: "+97235551234"
    first = parameters(office.post("incoming_call"))["token"]
    office.crm.redeem_ticket(first, "CA1")
    office.options["may_wait"] = lambda: True
    waiting = office.post("resume")
    assert [(verb.tag, verb.get("length") or verb.text) for verb in verbs(waiting)] == [
        ("Pause", "1"), ("Redirect", f"{BASE}/webhook/resume"),
    ]  # fmt: skip
    office.options["resume_ws_url"] = lambda sid: "wss://two.example.com/media/twilio"
    answer = office.post("resume")
    assert tags(answer) == ["Connect", "Redirect"]
    assert verbs(answer)[0][0].get("url") == "wss://two.example.com/media/twilio"
    start = office.crm.redeem_ticket(parameters(answer)["token"], "CA1")
    assert (start.stream, start.caller) == (1, "+972501234567")
    assert [office.counted[at] for at in (1, 2)] == [("resume", "wait"), ("resume", "resumed")]
    assert tags(office.post("resume")) == ["Connect", "Redirect"]
    third = office.post("resume")  # within a second, and nothing was said: it moves in circles
    assert tags(third) == ["Say", "Dial"]
    assert telephony.APOLOGY in third.text
    report = office.crm.call_report("CA1")
    assert (report["outcome"], report["detail"]) == ("broken", "too_many_moves")
    assert tags(office.post("resume")) == ["Say", "Dial"]


def test_a_planned_step_comes_before_the_record_of_the_end(office):
    office.post("incoming_call")
    office.crm.set_next_step("CA1", NextStep(Step.TRANSFER, "+97239999999"))
    assert verbs(office.post("after_stream"))[1].text == "+97239999999"  # its former name
    office.crm.set_next_step("CA1", NextStep(Step.HANG_UP))
    assert tags(office.post("after_stream")) == ["Hangup"]
    office.crm.set_next_step("CA1", NextStep(Step.TRANSFER))  # to nobody: never silence
    assert tags(office.post("after_stream")) == ["Say", "Say", "Record", "Say", "Hangup"]


def test_a_transfer_that_fails_ends_in_a_voicemail_and_a_note(office):
    office.post("incoming_call")
    office.crm.finish_call(CallEnd("CA1", Outcome.BROKEN, "socket_lost", 1, LeadDraft()))
    assert tags(office.post("dial_result", DialCallStatus="completed", DialCallSid="CA7")) == ["Hangup"]
    answer = office.post("dial_result", DialCallStatus="no-answer", DialCallSid="CA8")
    assert tags(answer) == ["Say", "Say", "Record", "Say", "Hangup"]
    recording = {"RecordingUrl": "https://api.twilio.com/RE1", "RecordingSid": "RE1", "RecordingDuration": "7"}
    assert tags(office.post("voicemail", **recording)) == ["Say", "Hangup"]
    office.post("voicemail", **recording, RecordingStatus="completed")
    office.post("voicemail", RecordingStatus="failed", RecordingSid="RE2", RecordingUrl="x")
    office.post("voicemail")
    report = office.crm.call_report("CA1")
    assert report is not None
    assert [note["url"] for note in report["lead"]["notes"]] == ["https://api.twilio.com/RE1"]
    assert [event["kind"] for event in report["events"]] == ["dial_result", "dial_result", "voicemail"]


def test_status_callbacks_are_stored_once(office, caplog):
    office.post("incoming_call")
    for _ in range(2):
        assert office.post("call_status", CallStatus="in-progress", SequenceNumber="1").status_code == 204
        stream = {"StreamSid": "MZ1", "Timestamp": "t"}
        assert office.post("stream_status", StreamEvent="stream-started", **stream).status_code == 204
        office.post("stream_status", StreamEvent="stream-error", StreamError="31920 Handshake Error", **stream)
    office.post("call_status", CallStatus="completed", CallDuration="3")
    report = office.crm.call_report("CA1")
    assert report is not None
    assert [event["data"].get("status") or event["data"]["StreamEvent"] for event in report["events"]] == [
        "in-progress", "stream-started", "stream-error", "completed",
    ]  # fmt: skip
    assert report["outcome"] == "no_stream"
    assert "twilio reports a broken stream" in caplog.messages


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("incoming_call", {}, ["Say", "Say", "Record", "Say", "Hangup"]),
        ("resume", {}, ["Say", "Say", "Record", "Say", "Hangup"]),
        ("dial_result", {"DialCallStatus": "busy"}, ["Say", "Say", "Record", "Say", "Hangup"]),
        ("voicemail", {"RecordingUrl": "https://x"}, ["Say", "Hangup"]),
        ("callback_request", {"Digits": "1"}, ["Say", "Record", "Say", "Hangup"]),
    ],
)
def test_when_the_database_is_away_the_caller_still_hears_hebrew(office, monkeypatch, caplog, name, fields, expected):
    def away(*args, **kwargs):
        raise OSError("disk I/O error")

    for method in ("receive_call", "resume_call", "add_event", "call_status", "request_callback"):
        monkeypatch.setattr(office.crm, method, away, raising=True)
    answer = office.post(name, **fields)
    assert tags(answer) == expected
    assert office.counted[-1] == ("webhook_failed", name)
    assert "webhook failed" in caplog.messages
    refused = office.post("call_status", CallStatus="completed")
    assert (refused.status_code, refused.mimetype) == (503, "text/plain")


def test_the_number_that_is_called_says_whose_call_it_is(office):
    other = office.crm.ensure_business("מרפאה", key="clinic")
    clinic = Office(other, "+97248887777", lambda: "")
    office.options = {
        "office_of": lambda called: clinic if called == "+97248888888" else None,
            "transfer_number": lambda: "+97235550000",
    }  # fmt: skip
    office.post("incoming_call", CallSid="CA1")
    office.post("incoming_call", CallSid="CA2", To="+97248888888")
    assert office.crm.active_calls(office.business) == 1
    assert office.crm.active_calls(other) == 1
    for sid in ("CA1", "CA2"):
        office.crm.finish_call(CallEnd(sid, Outcome.BROKEN, "x", 1, LeadDraft()))
    assert "+97235550000" in office.post("resume", CallSid="CA1").text
    answer = office.post("resume", CallSid="CA2", To="+97248888888").text
    assert "+97248887777" in answer
    assert "+97235550000" not in answer
