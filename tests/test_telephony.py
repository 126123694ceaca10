"""Signatures beside the SDK's own validator, TwiML as Twilio reads it, and commands over a real socket."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from emulators.twilio_rest import Fault, TwilioRest
from moked import telephony
from moked.errors import Failure, ProviderError
from moked.telephony import CallControl, WayOn, sign, signature_valid

TOKEN = "12345"
THEN = WayOn(voicemail_action="https://h/webhook/voicemail", dial_action="https://h/webhook/dial_result")
TO_PERSON = WayOn(
    voicemail_action="https://h/webhook/voicemail",
    dial_action="https://h/webhook/dial_result",
    transfer_number="+97235551234",
)
OFFER = telephony.CallbackOffer("https://h/webhook/callback_request?asked=1", THEN, number_known=True, person=True)

text = st.text(max_size=12)
urls = st.sampled_from(
    [
        "https://example.com/webhook/incoming_call",
        "https://example.com:443/a?b=c&d=%D7%90",
        "https://example.com:8443/a/",
        "http://example.com/a",
        "http://127.0.0.1:8080/webhook/incoming_call",
    ]
)
fields = st.dictionaries(text, st.one_of(text, st.lists(text, min_size=1, max_size=3)), max_size=4)


class Form(dict):
    """What the SDK's validator knows how to read repeated fields from."""

    def getall(self, name):
        value = self[name]
        return [value] if isinstance(value, str) else value


# ---- signatures


def test_the_example_of_twilios_documentation():
    params = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    signature = sign(TOKEN, "https://mycompany.com/myapp.php?foo=1&bar=2", params)
    assert signature == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert signature_valid(TOKEN, "https://mycompany.com/myapp.php?foo=1&bar=2", params, signature)


@given(urls, fields, st.sampled_from(["HMAC_SHA1", "HMAC_SHA256"]))
def test_we_sign_and_check_as_the_sdk_does(url, params, algorithm):
    validator = RequestValidator(TOKEN)
    ours = sign(TOKEN, url, params, algorithm=algorithm)
    assert ours == validator.compute_signature(url, Form(params), algorithm)
    settings = f"key=webhooks_sharedkey_1,algorithm={algorithm}"
    assert signature_valid(TOKEN, url, params, ours, settings=settings)
    assert validator.validate(url, Form(params), ours, algorithm)
    assert not signature_valid("other", url, params, ours, settings=settings)
    assert not signature_valid(TOKEN, url + "x", params, ours, settings=settings)


@given(fields)
def test_what_the_sdk_accepts_with_or_without_the_port_we_accept(params):
    for given_url, signed_url in [
        ("https://example.com/a", "https://example.com:443/a"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("https://example.com:8443/a", "https://example.com/a"),
        ("http://example.com/a", "http://example.com:80/a"),
    ]:
        signature = RequestValidator(TOKEN).compute_signature(signed_url, Form(params))
        assert RequestValidator(TOKEN).validate(given_url, Form(params), signature)
        assert signature_valid(TOKEN, given_url, params, signature)


def test_a_websocket_has_port_443_and_ipv6_keeps_its_host():
    for given_url, signed_url in [
        ("wss://h/media/twilio", "wss://h:443/media/twilio"),
        ("wss://h:443/media/twilio", "wss://h/media/twilio"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]/a"),
    ]:
        assert signature_valid(TOKEN, given_url, {}, sign(TOKEN, signed_url, {}))


@given(text, fields, st.none() | text, text, text)
def test_no_input_makes_it_raise_and_none_is_valid_by_luck(url, params, signature, settings, token):
    assert not signature_valid(token, url, params, signature, settings=settings)


def test_an_empty_token_and_an_unknown_algorithm_sign_nothing():
    assert not signature_valid("", "https://h/", {}, sign("", "https://h/", {}))
    assert not signature_valid(TOKEN, "https://h/", {}, sign(TOKEN, "https://h/", {}), settings="algorithm=HMAC_MD5")
    assert not signature_valid(TOKEN, "https://h/\ud800", {"a": "\ud800"}, "\ud800")


# ---- TwiML


def verbs(document):
    return list(ET.fromstring(document))


def test_a_stream_carries_its_parameters_and_we_are_asked_after_it():
    document = telephony.connect_stream(
        "wss://h/media/twilio",
        {"token": "t&<", "caller": "+972"},
        "https://h/webhook/stream_status",
        resume="https://h/webhook/resume",
    )
    connect, redirect = verbs(document)
    assert connect.attrib == {}
    (stream,) = connect
    assert stream.attrib == {
        "url": "wss://h/media/twilio",
        "statusCallback": "https://h/webhook/stream_status",
        "statusCallbackMethod": "POST",
    }
    assert {each.get("name"): each.get("value") for each in stream} == {"token": "t&<", "caller": "+972"}
    assert (redirect.tag, redirect.text, redirect.attrib) == (
        "Redirect", "https://h/webhook/resume", {"method": "POST"},
    )  # fmt: skip


def test_while_nobody_serves_the_caller_waits_and_we_are_asked_again():
    pause, redirect = verbs(telephony.ask_again("https://h/webhook/resume", after_s=2))
    assert (pause.tag, pause.get("length"), redirect.text) == ("Pause", "2", "https://h/webhook/resume")


def test_the_way_on_is_a_voicemail_or_a_person():
    after = verbs(telephony.way_on(THEN))
    assert [verb.tag for verb in after] == ["Say", "Say", "Record", "Say", "Hangup"]
    assert after[0].attrib == {"language": "he-IL", "voice": "Google.he-IL-Wavenet-D"}
    assert after[0].text == telephony.APOLOGY
    assert after[2].get("action") == after[2].get("recordingStatusCallback") == "https://h/webhook/voicemail"
    say, dial = verbs(telephony.way_on(TO_PERSON))
    assert telephony.TO_A_PERSON in say.text
    assert (dial.text, dial.get("action")) == ("+97235551234", "https://h/webhook/dial_result")


@pytest.mark.parametrize("url", ["wss://h/m?token=x", "https://h/m", "/m", "wss://"])
def test_an_address_twilio_would_refuse_is_refused_here(url):
    with pytest.raises(ValueError, match="wss://"):
        telephony.connect_stream(url, {}, "https://h/s", resume="https://h/r")


def test_a_parameter_too_long_for_twilio_is_refused_here():
    with pytest.raises(ValueError, match="token"):
        telephony.connect_stream("wss://h/m", {"token": "x" * 495}, "https://h/s", resume="https://h/r")


@pytest.mark.parametrize(
    ("document", "tags"),
    [
        (telephony.hang_up(), ["Hangup"]),
        (telephony.say("שלום"), ["Say", "Hangup"]),
        (telephony.dial("+97235551234", THEN), ["Say", "Dial"]),
        (telephony.refuse(OFFER), ["Gather", "Say", "Record", "Say", "Hangup"]),
        (telephony.callback_promised(OFFER), ["Say", "Hangup"]),
        (telephony.callback_promised(OFFER, "+972502345678"), ["Gather", "Say", "Hangup"]),
        (telephony.voicemail(THEN, telephony.NOBODY_FREE), ["Say", "Say", "Record", "Say", "Hangup"]),
        (telephony.way_on(TO_PERSON), ["Say", "Dial"]),
    ],
)
def test_each_answer_says_what_it_does_and_fits_an_update(document, tags):
    assert [verb.tag for verb in verbs(document)] == tags
    assert len(document) < telephony.LONGEST_UPDATE


# ---- REST


@pytest.fixture
async def twilio():
    emulator = TwilioRest("AC1", TOKEN)
    emulator.call_started("CA1")
    async with emulator.running() as base_url, CallControl("AC1", TOKEN, base_url, timeout_s=0.5) as control:
        emulator.base_url = base_url
        yield emulator, control


@pytest.mark.anyio
async def test_hanging_up_is_done_once_and_being_late_is_no_error(twilio):
    emulator, control = twilio
    assert await control.hang_up("CA1") is True
    assert await control.hang_up("CA1") is False
    assert await control.hang_up("CA404") is False
    assert emulator.updates == [("CA1", {"Status": "completed"})]
    assert emulator.counts["not_found"] == 2


@pytest.mark.anyio
async def test_a_running_call_goes_on_with_new_twiml(twilio):
    emulator, control = twilio
    document = telephony.dial("+97235551234", THEN)
    assert await control.update_twiml("CA1", document) is True
    assert emulator.updates == [("CA1", {"Twiml": document})]
    with pytest.raises(ValueError, match="4000"):
        await control.update_twiml("CA1", "x" * 4001)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [Fault(503, 20503), Fault(cut=True), Fault(200, delay_s=5)])
async def test_one_failure_is_tried_again_two_are_an_error(twilio, fault):
    emulator, control = twilio
    emulator.faults.append(fault)
    assert await control.hang_up("CA1") is True
    emulator.faults.extend([fault, fault])
    with pytest.raises(ProviderError) as failed:
        await control.hang_up("CA1")
    assert failed.value.kind is (Failure.TIMEOUT if fault.delay_s else Failure.UNAVAILABLE)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(401, 20003), Failure.AUTH),
        (Fault(429, 20429), Failure.QUOTA),
        (Fault(400, 21000), Failure.CONFIG),
        (Fault(404, 0), Failure.CONFIG),
    ],
)
async def test_what_will_not_change_is_not_tried_again(twilio, fault, kind):
    emulator, control = twilio
    emulator.faults.append(fault)
    with pytest.raises(ProviderError) as failed:
        await control.hang_up("CA1")
    assert failed.value.kind is kind
    assert emulator.counts["requests"] == 1


@pytest.mark.anyio
async def test_not_in_progress_any_more_is_as_good_as_gone(twilio):
    emulator, control = twilio
    emulator.faults.append(Fault(400, 21220))
    assert await control.hang_up("CA1") is False


RECORDING = "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE" + "0" * 32


@pytest.mark.anyio
async def test_a_recording_is_fetched_as_soon_as_it_is_there(twilio, monkeypatch):
    emulator, control = twilio
    waited = []

    async def written(seconds):
        waited.append(seconds)
        emulator.recorded = b"RIFF..."

    monkeypatch.setattr(telephony.anyio, "sleep", written)
    assert await control.recording(RECORDING) == b"RIFF..."
    assert len(waited) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        RECORDING.replace("AC1", "AC2"),
        RECORDING.replace("/Recordings/", "/Recordings/../Calls/"),
        RECORDING + "/../../Calls",
        RECORDING[:-1],
        "https://elsewhere.example/secret",
        "",
    ],
)
async def test_only_recordings_of_our_account_are_fetched(twilio, url):
    emulator, control = twilio
    with pytest.raises(ProviderError, match="no recording of this account"):
        await control.recording(url)
    assert not emulator.counts


@pytest.mark.anyio
async def test_a_recording_that_never_comes_is_an_error(twilio):
    _, control = twilio
    with pytest.raises(ProviderError, match="404"):
        await control.recording(RECORDING, wait_s=0)


@pytest.mark.anyio
async def test_wrong_credentials_and_nobody_there(twilio):
    emulator, _ = twilio
    async with CallControl("AC1", "wrong", emulator.base_url) as control:
        with pytest.raises(ProviderError, match="20003"):
            await control.hang_up("CA1")
    async with CallControl("AC1", TOKEN, "http://127.0.0.1:9") as control:
        with pytest.raises(ProviderError) as failed:
            await control.hang_up("CA1")
        assert failed.value.kind is Failure.UNAVAILABLE


@pytest.mark.anyio
async def test_a_call_is_placed_once_and_named(twilio):
    emulator, control = twilio
    sid = await control.place(
        "+972541112233", "+97235551234", answer="https://x/a", status="https://x/s", machine="https://x/m"
    )
    assert emulator.calls[sid] == "queued"
    emulator.faults.append(Fault(cut=True))
    with pytest.raises(ProviderError) as failed:  # it may ring all the same: no second try
        await control.place("+972541112233", "+97235551234", answer="https://x/a", status="https://x/s")
    assert failed.value.kind is Failure.UNAVAILABLE
    assert (emulator.counts["created"], emulator.counts["requests"]) == (1, 2)


def test_a_bridge_tells_whom_they_get():
    document = telephony.bridge("+972541112233", "+97235551234", "רותי", "https://x/done")
    assert telephony.CONNECTING.format(name="רותי") in document
    assert 'callerId="+97235551234"' in document
    assert telephony.CONNECTING_SOMEBODY in telephony.bridge("+972541112233", "+97235551234", "", "https://x/done")


@pytest.mark.anyio
async def test_the_providers_recordings_are_deleted_and_its_refusals_told():
    from anyio import to_thread

    from emulators.twilio_rest import Fault, TwilioRest
    from moked.telephony import ProviderRecordings

    account, sid = "AC" + "1" * 32, "RE" + "a" * 32
    emulator = TwilioRest(account, "token")
    emulator.recordings.add(sid)
    async with emulator.running() as base:
        ours, strangers = (ProviderRecordings(account, token, base) for token in ("token", "wrong"))
        with pytest.raises(ProviderError) as refused:
            await to_thread.run_sync(strangers.delete_recording, sid)
        assert refused.value.kind is Failure.AUTH
        emulator.faults.append(Fault(status=503))
        with pytest.raises(ProviderError):
            await to_thread.run_sync(ours.delete_recording, sid)
        assert emulator.recordings == {sid}
        await to_thread.run_sync(ours.delete_recording, sid)
        await to_thread.run_sync(ours.delete_recording, sid)  # gone is gone
        assert emulator.recordings == set()
        ours.close()
        strangers.close()
