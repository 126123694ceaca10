"""Contacts: the list, and one with all that happened, in one line of time; two that are one person."""

from collections.abc import Callable
from datetime import datetime

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.edits import Unreadable
from moked.crm.permissions import Permission
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/contacts`, `/contacts/<id>` and its changes, `/merges/<id>/undo`."""

    def contact_page(contact_id: int, refusal: str = "", status: int = 200) -> AnyResponse:
        before = _moment(request.args.get("before", ""))
        found = desk.desk.contact(actor().business_id, contact_id, before)
        if found is None:
            abort(404)
        if found.merged_into is not None:
            return redirect(url_for("desk.contact", contact_id=found.merged_into), 302)
        page = render_template(
            "desk/contact.html", section="contacts", page=found, refusal=refusal, before=before, now=desk.desk.now()
        )
        return make_response(page, status)

    def changed(contact_id: int, change: Callable[[], object], told: str) -> AnyResponse:
        try:
            change()
        except LookupError:
            abort(404)
        except Unreadable as refusal:
            return contact_page(contact_id, _refused(refusal), 400)
        return redirect(url_for("desk.contact", contact_id=contact_id, told=told))

    def list_page(refusal: str = "", status: int = 200) -> Response:
        found = desk.desk.contacts(actor().business_id, asked.text(), asked.page())
        page = render_template(
            "desk/contacts.html", section="contacts", page=found, text=asked.text(), refusal=refusal, form=request.form
        )
        return make_response(page, status)

    @views.get("/contacts")
    @needs(Permission.VIEW)
    def contacts() -> Response:
        return list_page()

    @views.post("/contacts")
    @needs(Permission.EDIT)
    def add_contact() -> AnyResponse:
        try:
            row, new = desk.edits.add_contact(actor(), request.form.get("name", ""), request.form.get("phone", ""))
        except Unreadable as refusal:
            return list_page(_refused(refusal), 400)
        return redirect(url_for("desk.contact", contact_id=row, told="saved" if new else "known"))

    @views.get("/contacts/<int:contact_id>")
    @needs(Permission.VIEW)
    def contact(contact_id: int) -> AnyResponse:
        return contact_page(contact_id)

    @views.post("/contacts/<int:contact_id>/name")
    @needs(Permission.EDIT)
    def rename_contact(contact_id: int) -> AnyResponse:
        name = request.form.get("name", "")
        return changed(contact_id, lambda: desk.edits.rename_contact(actor(), contact_id, name), "saved")

    @views.post("/contacts/<int:contact_id>/phones")
    @needs(Permission.EDIT)
    def add_phone(contact_id: int) -> AnyResponse:
        phone = request.form.get("phone", "")
        return changed(contact_id, lambda: desk.edits.add_phone(actor(), contact_id, phone), "saved")

    @views.post("/contacts/<int:contact_id>/notes")
    @needs(Permission.EDIT)
    def note_contact(contact_id: int) -> AnyResponse:
        text = request.form.get("text", "")
        return changed(contact_id, lambda: desk.edits.note_contact(actor(), contact_id, text), "saved")

    @views.get("/contacts/<int:contact_id>/merge")
    @needs(Permission.EDIT)
    def choose_merge(contact_id: int) -> AnyResponse:
        found = desk.desk.contact(actor().business_id, contact_id)
        if found is None:
            abort(404)
        if found.merged_into is not None:
            return redirect(url_for("desk.choose_merge", contact_id=found.merged_into))
        others = desk.desk.likely_same(actor().business_id, contact_id, asked.text())
        page = render_template(
            "desk/merge.html", section="contacts", contact=found.contact, others=others, text=asked.text()
        )
        return make_response(page)

    @views.post("/contacts/<int:contact_id>/merge")
    @needs(Permission.EDIT)
    def merge_contacts(contact_id: int) -> AnyResponse:
        gone = asked.row(request.form.get("gone", ""))
        if gone is None:
            abort(400)
        return changed(contact_id, lambda: desk.edits.merge_contacts(actor(), contact_id, gone), "merged")

    @views.post("/merges/<int:merge_id>/undo")
    @needs(Permission.EDIT)
    def unmerge_contacts(merge_id: int) -> AnyResponse:
        try:
            gone = desk.edits.unmerge_contacts(actor(), merge_id)
        except LookupError:
            abort(404)
        except Unreadable as refusal:
            abort(400, _refused(refusal))
        return redirect(url_for("desk.contact", contact_id=gone, told="unmerged"))


def _refused(refusal: Unreadable) -> str:
    return words.say(gate.language(), f"refused.{refusal}")


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
