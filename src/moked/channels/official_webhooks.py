"""What Meta and Twilio post to us (pure): whether it is theirs, and what it says.

Meta signs the body with the app's secret (`X-Hub-Signature-256`); Twilio signs the address and the fields, which the
web plane checks for all of its webhooks. What is no message of a person and no report is passed over.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from moked.channels import (
    CLOUD,
    PHONE,
    TWILIO_SMS,
    TWILIO_WHATSAPP,
    Address,
    Inbound,
    Kind,
    MessageState,
    Report,
)
from moked.channels.carrier_codes import failure

_STATES = {
    "sent": MessageState.SENT,
    "delivered": MessageState.DELIVERED,
    "read": MessageState.READ,
    "played": MessageState.READ,
    "failed": MessageState.FAILED,
    "undelivered": MessageState.FAILED,
}


def signed_by_meta(body: bytes, header: str, secret: str) -> bool:
    made = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return bool(secret) and hmac.compare_digest(made.encode(), header.encode())


def of_meta(body: bytes, phone_id: str) -> list[Inbound | Report]:
    """Everything in a notification that is for our number. Raises `ValueError` for what is no notification."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError("not JSON") from error
    if not isinstance(told, dict):
        raise ValueError("not a notification")
    found: list[Inbound | Report] = []
    for value in _values(told):
        if value.get("metadata", {}).get("phone_number_id") != phone_id:
            continue
        names = {one.get("wa_id"): one.get("profile", {}).get("name", "") for one in value.get("contacts", [])}
        told_of: list[Inbound | Report | None] = [_message(one, phone_id, names) for one in value.get("messages", [])]
        told_of += [_status(one) for one in value.get("statuses", [])]
        found += [one for one in told_of if one is not None]
    return found


def _values(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in told.get("entry", []):
        for change in entry.get("changes", []):
            if change.get("field") == "messages" and isinstance(change.get("value"), dict):
                yield change["value"]


def _message(one: Any, phone_id: str, names: Mapping[Any, str]) -> Inbound | None:
    match one:
        case {"id": str(id_), "from": str(who), "type": str(kind), "timestamp": at} if who.isascii() and who.isdigit():
            text, raw, what = "", "", Kind.OTHER
            match kind, one:
                case "text", {"text": {"body": str(text)}}:
                    what = Kind.TEXT
                case "button", {"button": {"text": str(text)}}:
                    what = Kind.TEXT
                case "interactive", {"interactive": dict(chosen)}:
                    text = next((str(v.get("title", "")) for v in chosen.values() if isinstance(v, dict)), "")
                    what = Kind.TEXT
                case "audio", {"audio": {"id": str(raw)}}:
                    what = Kind.VOICE
                case (("reaction" | "system" | "unsupported" | "ephemeral"), _):
                    return None
                case _, _:
                    part = one.get(kind)
                    text = str(part.get("caption", "")) if isinstance(part, dict) else ""
            moment = datetime.fromtimestamp(int(at), UTC)
            name = names.get(who, "")
            return Inbound(
                CLOUD, phone_id, id_, Address(PHONE, f"+{who}"), moment, name=name, kind=what, text=text, raw=raw
            )
    return None


def _status(one: Any) -> Report | None:
    match one:
        case {"id": str(id_), "status": str(status)} if status in _STATES:
            codes = [error.get("code", 0) for error in one.get("errors", []) if isinstance(error, dict)]
            return Report(CLOUD, id_, _STATES[status], failure(codes[0]) if codes else "")
    return None


def of_twilio(form: Mapping[str, str], now: datetime) -> Inbound | Report | None:
    """A message, or how far one of ours came; None for what is neither."""
    sid = form.get("MessageSid", "") or form.get("SmsSid", "")
    sender = form.get("From", "")
    if not sid:
        return None
    if status := form.get("MessageStatus", ""):
        channel = TWILIO_WHATSAPP if sender.startswith("whatsapp:") else TWILIO_SMS
        code = form.get("ErrorCode", "")
        state = _STATES.get(status)
        error = failure(int(code)) if code.isascii() and code.isdigit() else ""
        return Report(channel, sid, state, error) if state is not None else None
    channel = TWILIO_WHATSAPP if sender.startswith("whatsapp:") else TWILIO_SMS
    number = sender.removeprefix("whatsapp:")
    if not (number.startswith("+") and number[1:].isascii() and number[1:].isdigit()):
        return None
    text, raw, kind = form.get("Body", ""), "", Kind.TEXT
    if form.get("NumMedia", "0") not in ("", "0"):
        sound = form.get("MediaContentType0", "").startswith("audio/")
        kind = Kind.VOICE if sound else Kind.OTHER
        raw = form.get("MediaUrl0", "") if sound else ""
    return Inbound(
        channel,
        form.get("To", "").removeprefix("whatsapp:"),
        sid,
        Address(PHONE, number),
        now,
        name=form.get("ProfileName", ""),
        kind=kind,
        text=text,
        raw=raw,
    )
