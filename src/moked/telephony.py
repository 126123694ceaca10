"""Twilio's conventions: request signatures, TwiML, and commanding a running call. The only file that knows its SDK.

A stream that ends must never drop the caller in silence, so every document that opens one goes on, after `<Connect>`,
with `<Redirect>`: we are asked how the call goes on. Where nobody decided to end it, with a new stream to a process
that serves; else with what was decided; and if nothing else is left with an apology, and a way on (`WayOn`): a person,
or a voicemail. When the end of a call is commanded over REST that is reached only if the stream broke.
"""

import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import anyio
import httpx2
from twilio.twiml.voice_response import Connect, VoiceResponse

from moked.crm.phone import groups
from moked.errors import Failure, ProviderError

log = logging.getLogger(__name__)

SIGNATURE_HEADER: Final = "X-Twilio-Signature"
SETTINGS_HEADER: Final = "X-Twilio-Webhooks-Signature-Settings"
"""Sent with webhooks that a SharedKey signed: 'key=...,algorithm=HMAC_SHA256'. Absent: HMAC-SHA1, the auth token."""

VOICE: Final = "Google.he-IL-Wavenet-D"
LANGUAGE: Final = "he-IL"
LONGEST_UPDATE: Final = 4000
"""Characters of TwiML that a REST update takes (Twilio's documentation of the Call resource)."""

APOLOGY = "סליחה, יש לנו תקלה בקו."
TO_A_PERSON = "אני מעביר אתכם עכשיו לנציג, רק רגע."
LEAVE_MESSAGE = "אפשר להשאיר הודעה אחרי הצליל, ונחזור אליכם בהקדם."
GOODBYE = "תודה, ולהתראות."
THANKS_FOR_MESSAGE = "תודה, קיבלנו את ההודעה ונחזור אליכם בהקדם. להתראות."
NOBODY_FREE = "לא הצלחתי להשיג נציג פנוי."
ALL_BUSY = "תודה שהתקשרתם. כל הקווים שלנו תפוסים כרגע."
ONE_MOMENT = "אני בודק אם יש נציג פנוי, רק רגע."
INSTRUCTION = "מה למסור ללקוח? אפשר להגיד אחרי הצליל, ולסיים בסולמית."
THANKS = "תודה."
CONNECTING = "מחבר אתכם אל {name}."
CONNECTING_SOMEBODY = "מחבר את השיחה."
NOT_REACHED = "אין מענה במספר הזה."
ALL_BUSY_OUT = "סליחה, יש לנו תקלה. נתקשר שוב מאוחר יותר. להתראות."
PRESS = "ללחוץ 1 כדי לקבל, 2 כדי להחזיר עם הנחיה."
CANNOT_NOW = "תודה שהתקשרתם. לא נוכל לענות לכם ברגע זה, ואנחנו מתנצלים על כך."
OFFER_THIS_NUMBER = "כדי שנחזור אליכם למספר שממנו התקשרתם, הקישו 1 וסולמית."
OFFER_OTHER_NUMBER = "כדי שנחזור אליכם למספר אחר, הקישו אותו, ובסיום סולמית."
OFFER_NUMBER = "כדי שנחזור אליכם, הקישו את מספר הטלפון שלכם, ובסיום סולמית."
OFFER_PERSON = "כדי לעבור לנציג, הקישו 0 וסולמית."
OFFER_MESSAGE = "אפשר גם להישאר על הקו ולהשאיר לנו הודעה."
NOT_A_NUMBER = "סליחה, המספר שהוקש לא נקלט כמספר טלפון תקין."
WILL_CALL_BACK = "רשמתי. נחזור בהקדם למספר שממנו התקשרתם. תודה, ולהתראות."
WILL_CALL_NUMBER = "רשמתי את המספר {number}. נחזור אליכם בהקדם. אם נפלה טעות, הקישו את המספר שוב, ובסיום סולמית."

_PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80}
_HASHES: Final = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}
_LONGEST_PARAMETER: Final = 499  # name and value of a <Parameter> together: under 500 characters

Params = Mapping[str, str | Sequence[str]]


# ---- signatures


def sign(auth_token: str, url: str, params: Params, *, algorithm: str = "HMAC_SHA1") -> str:
    """`X-Twilio-Signature` of a request: the URL, then each sorted name with its sorted values, in base64.

    `url` is the whole public address with its query; `params` the form fields (none for GET and for the WebSocket,
    whose address is the `wss://` one of the TwiML). A repeated field has a sequence of values.
    """
    text = url
    for name in sorted(params):
        value = params[name]
        text += "".join(name + each for each in ([value] if isinstance(value, str) else sorted(set(value))))
    mac = hmac.new(_bytes(auth_token), _bytes(text), _HASHES[algorithm])
    return base64.b64encode(mac.digest()).decode("ascii")


def signature_valid(auth_token: str, url: str, params: Params, signature: str | None, *, settings: str = "") -> bool:
    """Whether Twilio signed this request; never raises, takes the same time for any wrong signature.

    Twilio signs the address now with and now without its port, so both count. `settings` is the value of
    `SETTINGS_HEADER`; an algorithm we do not know is no signature. An empty token signs nothing.
    """
    algorithm = _algorithm(settings)
    if not signature or not auth_token or algorithm not in _HASHES:
        return False
    given = _bytes(signature)
    matches = [
        hmac.compare_digest(_bytes(sign(auth_token, each, params, algorithm=algorithm)), given)
        for each in _with_and_without_port(url)
    ]
    return any(matches)


def _algorithm(settings: str) -> str:
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip().lower() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def _with_and_without_port(url: str) -> tuple[str, ...]:
    # Done here because twilio 9.13's validator makes wss:// port 80 and breaks the host of an IPv6 address.
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.netloc
    except ValueError:
        return (url,)
    if port is not None:
        return (url, parts._replace(netloc=host.rpartition(":")[0]).geturl())
    default = _PORTS.get(parts.scheme)
    return (url, parts._replace(netloc=f"{host}:{default}").geturl()) if default else (url,)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# ---- TwiML


@dataclass(frozen=True, slots=True)
class WayOn:
    """Where a caller goes when the agent cannot go on: to `transfer_number` (E.164), or to a voicemail.

    `dial_action` gets the result of the transfer, `voicemail_action` what was recorded. All are absolute addresses.
    """

    voicemail_action: str
    transfer_number: str = ""
    dial_action: str = ""
    voice: str = VOICE


def connect_stream(ws_url: str, parameters: Mapping[str, str], status_callback: str, *, resume: str) -> str:
    """Open the media stream. When it ends and the call does not, `resume` is asked how it goes on.

    Raises `ValueError` for an address Twilio would refuse (31922 scheme, 31920 query string) and a parameter that is
    too long.
    """
    parts = urlsplit(ws_url)
    if parts.scheme not in ("wss", "ws") or not parts.netloc or parts.query:
        raise ValueError(f"a media stream needs a wss:// address without a query string, not {ws_url!r}")
    response = VoiceResponse()
    connect = Connect()
    stream = connect.stream(url=ws_url, status_callback=status_callback, status_callback_method="POST")
    for name, value in parameters.items():
        if len(name) + len(value) > _LONGEST_PARAMETER:
            raise ValueError(f"the stream parameter {name!r} is too long for Twilio")
        stream.parameter(name=name, value=value)
    response.append(connect)
    response.redirect(resume, method="POST")
    return _text(response)


def ask_again(url: str, *, after_s: int) -> str:
    """Nobody serves just now: the caller waits in silence, and `url` is asked once more."""
    response = VoiceResponse()
    response.pause(length=after_s)
    response.redirect(url, method="POST")
    return _text(response)


def way_on(then: WayOn, opening: str = APOLOGY) -> str:
    """`opening`, then a person or a voicemail."""
    response = VoiceResponse()
    _go_on(response, then, opening)
    return _text(response)


@dataclass(frozen=True, slots=True)
class CallbackOffer:
    """What a caller nobody can serve is offered: to type a number, `action` gets the keys; else to leave a message.

    `number_known`: the carrier told us where they call from. `person`: somebody can be reached at this hour.
    """

    action: str
    then: WayOn
    number_known: bool
    person: bool = False


def refuse(offer: CallbackOffer, opening: str = ALL_BUSY) -> str:
    """No line is free: say so, and let the caller choose. Whoever does nothing may leave a message."""
    response = VoiceResponse()
    choices = [OFFER_THIS_NUMBER, OFFER_OTHER_NUMBER] if offer.number_known else [OFFER_NUMBER]
    if offer.person:
        choices.append(OFFER_PERSON)
    _ask_keys(response, offer, " ".join((opening, *choices, OFFER_MESSAGE)))
    _voicemail(response, offer.then)
    return _text(response)


def callback_promised(offer: CallbackOffer, number: str = "") -> str:
    """We call back: the caller's own number, or the `number` they typed (E.164), which they hear and may correct."""
    response = VoiceResponse()
    if number:
        spoken = ", ".join(" ".join(group) for group in groups(number))
        _ask_keys(response, offer, WILL_CALL_NUMBER.format(number=spoken))
        _say(response, GOODBYE, offer.then.voice)
    else:
        _say(response, WILL_CALL_BACK, offer.then.voice)
    response.hangup()
    return _text(response)


def dial(number: str, then: WayOn, *, announce: bool = True) -> str:
    """Connect the caller to `number`; `then.dial_action` hears how it went."""
    response = VoiceResponse()
    if announce:
        _say(response, TO_A_PERSON, then.voice)
    _dial(response, number, then)
    return _text(response)


def voicemail(then: WayOn, opening: str = "") -> str:
    """Take a message."""
    response = VoiceResponse()
    if opening:
        _say(response, opening, then.voice)
    _voicemail(response, then)
    return _text(response)


def say(text: str, *, voice: str = VOICE) -> str:
    """Say it and hang up."""
    response = VoiceResponse()
    _say(response, text, voice)
    response.hangup()
    return _text(response)


def hold(room: str, action: str, *, voice: str = VOICE) -> str:
    """The caller waits for a person in the conference `room`, with Twilio's music; `action` hears when it is over."""
    response = VoiceResponse()
    _say(response, ONE_MOMENT, voice)
    waiting = response.dial(action=action, method="POST")
    waiting.conference(room, start_conference_on_enter=False, end_conference_on_exit=True, beep="false")
    return _text(response)


def brief(text: str, choice: str, *, voice: str = VOICE) -> str:
    """Tell the person that was rung whom they get; the key they press, or none, goes to `choice`."""
    response = VoiceResponse()
    gather = response.gather(num_digits=1, timeout=5, action=choice, method="POST")
    gather.say(text, language=LANGUAGE, voice=voice)
    response.redirect(choice, method="POST")
    return _text(response)


def join(room: str) -> str:
    """The person takes the call: whoever hangs up ends it for both."""
    response = VoiceResponse()
    response.dial().conference(room, start_conference_on_enter=True, end_conference_on_exit=True, beep="false")
    return _text(response)


def ask_instruction(action: str, *, voice: str = VOICE) -> str:
    """The person sends the caller back and may say what to do; `action` gets the recording, or nothing."""
    response = VoiceResponse()
    _say(response, INSTRUCTION, voice)
    response.record(action=action, method="POST", max_length=30, timeout=3, finish_on_key="#", play_beep=True)
    response.redirect(action, method="POST")
    return _text(response)


def bridge(number: str, caller_id: str, name: str, done: str, *, voice: str = VOICE) -> str:
    """The person who clicked has picked up: tell them whom they get, and call `number`; `done` hears how it went."""
    response = VoiceResponse()
    _say(response, CONNECTING.format(name=name) if name else CONNECTING_SOMEBODY, voice)
    response.dial(number, caller_id=caller_id, timeout=25, answer_on_bridge=True, action=done, method="POST")
    return _text(response)


def redirect(url: str) -> str:
    response = VoiceResponse()
    response.redirect(url, method="POST")
    return _text(response)


def hang_up() -> str:
    response = VoiceResponse()
    response.hangup()
    return _text(response)


def _go_on(response: VoiceResponse, then: WayOn, opening: str) -> None:
    if then.transfer_number:
        _say(response, f"{opening} {TO_A_PERSON}", then.voice)
        _dial(response, then.transfer_number, then)
    else:
        _say(response, opening, then.voice)
        _voicemail(response, then)


def _dial(response: VoiceResponse, number: str, then: WayOn) -> None:
    options = {"action": then.dial_action, "method": "POST"} if then.dial_action else {}
    response.dial(number, timeout=25, answer_on_bridge=True, **options)


def _ask_keys(response: VoiceResponse, offer: CallbackOffer, words: str) -> None:
    """Keys alone: whether Twilio understands spoken Hebrew here depends on its provider of the day. After silence the
    next verb runs."""
    gather = response.gather(input="dtmf", finish_on_key="#", timeout=5, action=offer.action, method="POST")
    gather.say(words, language=LANGUAGE, voice=offer.then.voice)


def _voicemail(response: VoiceResponse, then: WayOn) -> None:
    _say(response, LEAVE_MESSAGE, then.voice)
    response.record(
        action=then.voicemail_action,
        method="POST",
        max_length=180,
        timeout=6,
        finish_on_key="#",
        play_beep=True,
        recording_status_callback=then.voicemail_action,
        recording_status_callback_method="POST",
    )
    _say(response, GOODBYE, then.voice)  # reached when nothing was recorded
    response.hangup()


def _say(response: VoiceResponse, text: str, voice: str) -> None:
    response.say(text, language=LANGUAGE, voice=voice)


def _text(response: VoiceResponse) -> str:
    return str(response.to_xml())


# ---- commanding a running call

_SID: Final = re.compile(r"RE[0-9a-f]{32}")
_GONE: Final = (20404, 21220)  # "not found"; "call is not in-progress": it ended before our word came


class CallControl:
    """Twilio's REST API, as far as a running call needs it. Plain HTTP: two requests do not need a client library.

    Every method answers True, or False when the call was already over, which is what was wanted. A failed connection, a
    timeout or 5xx is tried once more; then `ProviderError`. `async with` it, or `aclose()` it.
    """

    def __init__(
        self, account_sid: str, auth_token: str, base_url: str | None = None, *, timeout_s: float = 4.0
    ) -> None:
        base = (base_url or "https://api.twilio.com").rstrip("/")
        self._account_sid = account_sid
        self._calls = f"{base}/2010-04-01/Accounts/{account_sid}/Calls"
        self._recordings = f"{base}/2010-04-01/Accounts/{account_sid}/Recordings"
        self._client = httpx2.AsyncClient(
            auth=(account_sid, auth_token),
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 2.0)),
            limits=httpx2.Limits(max_connections=20, max_keepalive_connections=5),
            trust_env=False,
        )

    async def hang_up(self, call_sid: str) -> bool:
        """End the call."""
        return await self._update(call_sid, {"Status": "completed"})

    async def update_twiml(self, call_sid: str, twiml: str) -> bool:
        """Let the call go on with `twiml`; its media stream ends. Raises `ValueError` over 4000 characters."""
        if len(twiml) > LONGEST_UPDATE:
            raise ValueError(f"Twilio takes {LONGEST_UPDATE} characters of TwiML in an update, not {len(twiml)}")
        return await self._update(call_sid, {"Twiml": twiml})

    async def ring(self, to: str, caller_id: str, *, answer: str, status: str, timeout_s: int = 20) -> None:
        """Call `to`; whoever answers gets the TwiML of `answer`, and `status` hears how the call ended. Never twice: a
        second try after a lost answer would ring a second time."""
        fields = {
            "To": to,
            "From": caller_id,
            "Url": answer,
            "StatusCallback": status,
            "StatusCallbackEvent": "completed",
            "Timeout": str(timeout_s),
        }
        await self._send(f"{self._calls}.json", fields)

    async def recording(self, url: str, *, wait_s: float = 4.0) -> bytes:
        """The WAV behind a `RecordingUrl`. It may not be there at once: asked for again until `wait_s` are over.

        Only what belongs to our account is fetched, and from the address we know, whatever host the URL names: the
        credentials go with the request. Raises `ProviderError`.
        """
        sid = urlsplit(url).path.rpartition("/")[2]
        if urlsplit(url).path != f"/2010-04-01/Accounts/{self._account_sid}/Recordings/{sid}" or not _SID.fullmatch(
            sid
        ):
            raise ProviderError("twilio", Failure.CONFIG, "that is no recording of this account")
        until = anyio.current_time() + wait_s
        while True:
            answer = await self._ask("GET", f"{self._recordings}/{sid}.wav")
            if answer.is_success:
                return answer.content
            if answer.status_code != 404 or anyio.current_time() > until:
                raise _refused(answer)
            await anyio.sleep(0.3)

    async def place(
        self, to: str, caller_id: str, *, answer: str, status: str, machine: str = "", timeout_s: int = 25
    ) -> str:
        """Call `to`; returns the call's SID. As `ring`, never twice. `machine`: where Twilio says, while the call runs,
        whether a machine picked up."""
        fields = {
            "To": to,
            "From": caller_id,
            "Url": answer,
            "StatusCallback": status,
            "StatusCallbackEvent": "completed",
            "Timeout": str(timeout_s),
        }
        if machine:
            fields |= {"MachineDetection": "Enable", "AsyncAmd": "true", "AsyncAmdStatusCallback": machine}
        placed = await self._ask("POST", f"{self._calls}.json", fields)
        if not placed.is_success:
            raise _refused(placed)
        sid = placed.json().get("sid")
        if not isinstance(sid, str) or not sid:
            raise ProviderError("twilio", Failure.PROTOCOL, "the call that was to be placed has no SID")
        return sid

    async def aclose(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _update(self, call_sid: str, fields: dict[str, str]) -> bool:
        try:
            return await self._post(call_sid, fields)
        except ProviderError as error:
            if error.kind not in (Failure.UNAVAILABLE, Failure.TIMEOUT):
                raise
            log.warning(
                "twilio did not take the command, trying again", extra={"call_sid": call_sid, "why": str(error)}
            )
        return await self._post(call_sid, fields)

    async def _post(self, call_sid: str, fields: dict[str, str]) -> bool:
        return await self._send(f"{self._calls}/{call_sid}.json", fields)

    async def _send(self, url: str, fields: dict[str, str]) -> bool:
        answer = await self._ask("POST", url, fields)
        if answer.is_success:
            return True
        if _complaint(answer)[0] in _GONE:
            return False
        raise _refused(answer)

    async def _ask(self, method: str, url: str, fields: dict[str, str] | None = None) -> httpx2.Response:
        try:
            return await self._client.request(method, url, data=fields)
        except httpx2.TimeoutException as error:
            raise ProviderError("twilio", Failure.TIMEOUT, "no answer in time") from error
        except httpx2.TransportError as error:
            raise ProviderError("twilio", Failure.UNAVAILABLE, f"no connection: {error}") from error


def _refused(answer: httpx2.Response) -> ProviderError:
    code, message = _complaint(answer)
    return ProviderError("twilio", _kind(answer.status_code), f"HTTP {answer.status_code}, code {code}: {message}")


class ProviderRecordings:
    """Twilio's own recordings (of voicemails and instructions): for deleting them. Synchronous: not on an event
    loop."""

    def __init__(
        self, account_sid: str, auth_token: str, base_url: str | None = None, *, timeout_s: float = 10.0
    ) -> None:
        base = (base_url or "https://api.twilio.com").rstrip("/")
        self._recordings = f"{base}/2010-04-01/Accounts/{account_sid}/Recordings"
        self._client = httpx2.Client(auth=(account_sid, auth_token), timeout=timeout_s, trust_env=False)

    def delete_recording(self, sid: str) -> None:
        """One that is not there is deleted. Raises `ProviderError`."""
        try:
            answer = self._client.delete(f"{self._recordings}/{sid}.json")
        except httpx2.TimeoutException as error:
            raise ProviderError("twilio", Failure.TIMEOUT, "no answer in time") from error
        except httpx2.TransportError as error:
            raise ProviderError("twilio", Failure.UNAVAILABLE, f"no connection: {error}") from error
        if not answer.is_success and answer.status_code != 404:
            code, message = _complaint(answer)
            raise ProviderError(
                "twilio", _kind(answer.status_code), f"HTTP {answer.status_code}, code {code}: {message}"
            )

    def close(self) -> None:
        self._client.close()


def _complaint(answer: httpx2.Response) -> tuple[int, str]:
    try:
        body: Any = answer.json()
    except ValueError:
        return 0, "the answer is not JSON"
    if not isinstance(body, dict) or not isinstance(body.get("code"), int):
        return 0, "the answer has no error code"
    return body["code"], str(body.get("message", ""))


def _kind(status: int) -> Failure:
    match status:
        case 401 | 403:
            return Failure.AUTH
        case 429:
            return Failure.QUOTA
        case _ if status >= 500:
            return Failure.UNAVAILABLE
        case _ if status >= 400:
            return Failure.CONFIG
        case _:
            return Failure.PROTOCOL
