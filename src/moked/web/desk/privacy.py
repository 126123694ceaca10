"""Privacy at the desk: what callers are told, what is kept for how long, and one person's data handed out, held,
erased."""

from dataclasses import replace

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.erasure import Held, StillTalking
from moked.crm.models import Contact
from moked.crm.permissions import Permission
from moked.crm.phone import to_e164
from moked.crm.privacy_desk import Wrong
from moked.crm.privacy_rules import (
    KEYS,
    LONGEST_DAYS,
    LONGEST_NOTICE,
    NOTICE,
    NOTICE_FEMALE,
    RefusedWords,
    Rules,
    opening,
)
from moked.errors import ProviderError, SealError
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts, PrivacyParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/privacy`, and what owners do to one contact or one sealed field."""
    if desk.privacy is not None:
        _add(views, desk, desk.privacy)


def _add(views: Blueprint, desk: DeskParts, privacy: PrivacyParts) -> None:
    def page(rules: Rules, *, refusal: str = "", counts: dict[str, int] | None = None) -> Response:
        by = actor()
        greeting, female = privacy.greeting(by.business_id)
        shown = render_template(
            "desk/privacy.html",
            section="privacy",
            rules=rules,
            refusal=refusal and words.say(gate.language(), f"privacy.refused.{refusal}"),
            wrong=refusal,
            records=privacy.desk.records,
            place=privacy.desk.place,
            said=opening(greeting, by.business, rules, recorded=privacy.desk.records and rules.record, female=female),
            standard=NOTICE_FEMALE if female else NOTICE,
            keys=KEYS,
            kept=list(RefusedWords),
            longest_days=LONGEST_DAYS,
            longest_notice=LONGEST_NOTICE,
            stored=privacy.desk.stored(by.business_id),
            runs=privacy.desk.runs(by.business_id),
            holds=privacy.desk.holds(by.business_id),
            counts=counts,
        )
        return make_response(shown, 400 if refusal else 200)

    @views.get("/privacy")
    @needs(Permission.PRIVACY)
    def privacy_page() -> Response:
        return page(privacy.desk.rules(actor().business_id))

    @views.post("/privacy")
    @needs(Permission.PRIVACY)
    def change_privacy() -> AnyResponse:
        before = privacy.desk.rules(actor().business_id)
        wanted = _wanted(before)
        try:
            privacy.desk.change(actor(), wanted)
        except Wrong as refusal:
            return page(wanted, refusal=str(refusal))
        return redirect(url_for("desk.privacy_page", told="saved"))

    @views.post("/privacy/purge")
    @needs(Permission.PRIVACY)
    def count_purge() -> Response:
        """What tonight's purge would delete: a dry run."""
        by = actor()
        done = privacy.retention.purge(desk.desk.now(), dry=True, business_id=by.business_id)
        counts = done[by.business_id]
        names = ("recordings", "transcripts", "leads", "calls", "contacts", "messages", "provider", "held")
        return page(privacy.desk.rules(by.business_id), counts={name: getattr(counts, name) for name in names})

    @views.post("/contacts/<int:contact_id>/export")
    @needs(Permission.PRIVACY)
    def export_contact(contact_id: int) -> Response:
        """Everything about one person as a ZIP, made while it is sent: it lies on no disk of ours."""
        by = actor()
        try:
            pieces = privacy.erasure.export(by, by.business_id, contact_id)
        except LookupError:
            abort(404)
        answer = Response(pieces, mimetype="application/zip")
        answer.headers["Content-Disposition"] = f'attachment; filename="contact-{contact_id}.zip"'
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def contact_of(contact_id: int) -> Contact:
        found = desk.desk.contact(actor().business_id, contact_id)
        if found is None:
            abort(404)
        return found.contact

    def privacy_of(contact_id: int, refusal: str = "", **values: str) -> Response:
        contact = contact_of(contact_id)
        told = words.say(gate.language(), f"privacy.refused.{refusal}", **values) if refusal else ""
        shown = render_template(
            "desk/contact_privacy.html",
            section="contacts",
            contact=contact,
            hold=privacy.desk.hold_of(actor().business_id, contact_id),
            expected=_expected(contact),
            refusal=told,
        )
        return make_response(shown, 400 if refusal else 200)

    @views.get("/contacts/<int:contact_id>/privacy")
    @needs(Permission.PRIVACY)
    def contact_privacy(contact_id: int) -> Response:
        return privacy_of(contact_id)

    @views.post("/contacts/<int:contact_id>/erase")
    @needs(Permission.PRIVACY)
    def erase_contact(contact_id: int) -> AnyResponse:
        by, contact = actor(), contact_of(contact_id)
        if not _confirmed(contact, request.form.get("confirm", "")):
            return privacy_of(contact_id, "confirm")
        try:
            privacy.erasure.erase(by, by.business_id, contact_id)
        except LookupError:
            abort(404)
        except Held as held:
            return privacy_of(contact_id, "held", reason=str(held))
        except StillTalking:
            return privacy_of(contact_id, "talking")
        except ProviderError:
            return privacy_of(contact_id, "provider")
        return redirect(url_for("desk.contacts", told="erased"))

    @views.post("/contacts/<int:contact_id>/hold")
    @needs(Permission.PRIVACY)
    def hold_contact(contact_id: int) -> AnyResponse:
        """`reason` holds, an empty `release=1` lets go."""
        try:
            if request.form.get("release") == "1":
                privacy.desk.release(actor(), contact_id)
            else:
                privacy.desk.hold(actor(), contact_id, request.form.get("reason", ""))
        except LookupError:
            abort(404)
        except Wrong as refusal:
            return privacy_of(contact_id, str(refusal))
        return redirect(url_for("desk.contact_privacy", contact_id=contact_id, told="saved"))

    @views.post("/leads/<int:lead_id>/sealed")
    @needs(Permission.PRIVACY)
    def reveal_field(lead_id: int) -> Response:
        """A field that lies sealed, for once and on record; never kept by the browser."""
        name = request.form.get("name", "")[:100]
        try:
            value = privacy.desk.reveal(actor(), lead_id, name)
        except LookupError:
            abort(404)
        except SealError:
            value = ""
        answer = make_response(
            render_template("desk/sealed.html", section="leads", lead_id=lead_id, name=name, value=value)
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer


def _wanted(before: Rules) -> Rules:
    """The form's rules. What cannot be read becomes what `privacy_rules.wrong` refuses."""
    form = request.form
    notice = " ".join(form.get("notice", "").split())

    def on(name: str) -> bool:
        return form.get(name) == "1"

    return replace(
        before,
        record=on("record"),
        notice="" if notice in (NOTICE, NOTICE_FEMALE) else notice,
        refuse_key=form.get("refuse_key", "")[:2],
        refused_words=asked.word(RefusedWords, form.get("refused_words", "")) or before.refused_words,
        recordings_days=_days(form.get("recordings_days", "")),
        transcripts_days=_days(form.get("transcripts_days", "")),
        leads_days=_days(form.get("leads_days", "")),
        hide_cards=on("hide_cards"),
        hide_ids=on("hide_ids"),
        hide_audio=on("hide_audio"),
    )


def _days(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1


def _expected(contact: Contact) -> str:
    """What has to be typed before a contact is erased: the number, else the name, else a word for it."""
    return contact.phone or contact.name or words.say(gate.language(), "privacy.erase_word")


def _confirmed(contact: Contact, typed: str) -> bool:
    if contact.phone:
        return (to_e164(typed) or typed.strip()) == contact.phone
    return " ".join(typed.split()) == " ".join(_expected(contact).split())
