"""What leaves: messages and why they were or were not sent, consents, a call to a contact, and the rules of sending."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.channels import MessageState
from moked.channels.rules import RULES, explained
from moked.crm.edits import Unreadable
from moked.crm.followups import TEXTS
from moked.crm.outreach import CHANNELS, NOTIFY_BY, NewSettings
from moked.crm.permissions import Permission
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts

_NOTIFY_ROWS = 4
_DAYS = (6, 0, 1, 2, 3, 4, 5)  # Sunday first


def tools(desk: DeskParts) -> dict[str, Any]:
    """What templates may use: a contact's record of being turned to, and the gate's reasons in words."""
    language = gate.language()
    return {
        "outreach_of": lambda contact_id: desk.outreach.of_contact(actor().business_id, contact_id),
        "my_phone": lambda: desk.outreach.my_phone(actor()),
        "calls_out": lambda: bool(desk.outreach.callers(actor().business_id)),
        "reason": lambda code: explained(code, language) if code in RULES else "",
        "reason_source": lambda code: RULES[code].source if code in RULES else "",
        "channels": CHANNELS,
    }


def refusal_of(wrong: Unreadable) -> str:
    return words.say(gate.language(), f"outreach.refused.{wrong}")


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/messages...`, `/contacts/<id>/consent|removal|call|agent_call`, `/outreach`."""

    def back(told: str) -> AnyResponse:
        """To the page the form was on."""
        target = gate.safe_next(request.form.get("next", ""), url_for("desk.messages"))
        joint = "&" if "?" in target else "?"
        return redirect(f"{target}{joint}told={told}")

    def changed(contact_id: int, change: Callable[[], object], told: str) -> AnyResponse:
        """Do it and go back; a refusal is told on a page of its own, with the way back."""
        try:
            change()
        except LookupError:
            abort(404)
        except Unreadable as wrong:
            target = gate.safe_next(request.form.get("next", ""), url_for("desk.contact", contact_id=contact_id))
            page = render_template(
                "desk/outreach_refused.html", section="contacts", refusal=refusal_of(wrong), back=target
            )
            return make_response(page, 400)
        return back(told)

    @views.get("/messages")
    @needs(Permission.VIEW)
    def messages() -> str:
        state = asked.word(MessageState, request.args.get("state", ""))
        found = desk.outreach.messages(actor().business_id, state, asked.page())
        waiting = desk.outreach.waiting(actor().business_id)
        return render_template(
            "desk/messages.html",
            section="messages",
            page=found,
            state=state,
            states=list(MessageState),
            waiting=waiting,
        )

    @views.post("/messages/<int:message_id>/approve")
    @needs(Permission.OUTREACH)
    def approve_message(message_id: int) -> AnyResponse:
        try:
            desk.outreach.approve(actor(), message_id)
        except LookupError:
            abort(404)
        return back("saved")

    @views.post("/messages/<int:message_id>/refuse")
    @needs(Permission.OUTREACH)
    def refuse_message(message_id: int) -> AnyResponse:
        try:
            desk.outreach.refuse(actor(), message_id)
        except LookupError:
            abort(404)
        return back("saved")

    @views.post("/contacts/<int:contact_id>/consent")
    @needs(Permission.EDIT)
    def give_consent(contact_id: int) -> AnyResponse:
        form = request.form
        given = form.get("purpose", ""), form.get("channel", ""), form.get("text", "")[:300]
        return changed(contact_id, lambda: desk.outreach.give_consent(actor(), contact_id, *given), "saved")

    @views.post("/contacts/<int:contact_id>/removal")
    @needs(Permission.EDIT)
    def revoke_consent(contact_id: int) -> AnyResponse:
        return changed(contact_id, lambda: desk.outreach.revoke(actor(), contact_id), "saved")

    @views.post("/contacts/<int:contact_id>/call")
    @needs(Permission.EDIT)
    def click_to_call(contact_id: int) -> AnyResponse:
        phone = request.form.get("my_phone", "")
        return changed(contact_id, lambda: desk.outreach.click(actor(), contact_id, phone), "ringing")

    @views.post("/contacts/<int:contact_id>/agent_call")
    @needs(Permission.EDIT)
    def agent_call(contact_id: int) -> AnyResponse:
        subject = request.form.get("subject", "")
        return changed(contact_id, lambda: desk.outreach.agent_call(actor(), contact_id, subject), "calling")

    def settings_page(refusal: str = "", told: str = "") -> Response:
        page = render_template(
            "desk/outreach_settings.html",
            section="outreach",
            policy=desk.outreach.settings(actor().business_id),
            callers=desk.outreach.callers(actor().business_id),
            days=_DAYS,
            defaults=TEXTS,
            notify_by=NOTIFY_BY,
            notify_rows=_NOTIFY_ROWS,
            refusal=refusal,
            registry_told=told,
            now=desk.desk.now(),
        )
        return make_response(page, 400 if refusal else 200)

    @views.get("/outreach")
    @needs(Permission.OUTREACH)
    def outreach_settings() -> Response:
        return settings_page()

    @views.post("/outreach")
    @needs(Permission.OUTREACH)
    def save_outreach() -> AnyResponse:
        form = request.form
        new = NewSettings(
            hours={day: (form.get(f"opens_{day}", ""), form.get(f"closes_{day}", "")) for day in _DAYS},
            per_contact_day=form.get("per_contact_day", ""),
            per_channel_day=form.get("per_channel_day", ""),
            notify=[
                (form.get(f"notify_by_{row}", ""), form.get(f"notify_to_{row}", "")) for row in range(_NOTIFY_ROWS)
            ],
            texts={name: form.get(f"text_{name}", text) for name, text in TEXTS.items()},
            agent_calls_back=form.get("agent_calls_back") == "1",
            caller_id=form.get("caller_id", "")[:32],
        )
        try:
            desk.outreach.save_settings(actor(), new)
        except Unreadable as wrong:
            return settings_page(refusal_of(wrong))
        return redirect(url_for("desk.outreach_settings", told="saved"))

    @views.post("/outreach/registry")
    @needs(Permission.OUTREACH)
    def upload_registry() -> AnyResponse:
        try:
            read, unread = desk.outreach.upload_checks(
                actor(), typed_or_file("numbers"), request.form.get("checked_on", "")
            )
        except Unreadable as wrong:
            return settings_page(refusal_of(wrong))
        return settings_page(told=words.say(gate.language(), "outreach.registry.read", read=read, unread=unread))


def typed_or_file(name: str) -> str:
    """What was typed into a field, or the text file that was chosen beside it. Excel writes cp1255 where it can."""
    if typed := request.form.get(name, "").strip():
        return typed
    chosen = request.files.get(f"{name}_file")
    data = chosen.read() if chosen is not None else b""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1255", "replace")
