"""Contacts: the list, and one with all that happened, in one line of time."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.edits import Unreadable
from moked.crm.permissions import Permission
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/contacts`, `/contacts/<id>`."""

    def contact_page(contact_id: int, refusal: str = "") -> str:
        found = desk.desk.contact(actor().business_id, contact_id)
        if found is None:
            abort(404)
        return render_template("desk/contact.html", section="contacts", page=found, refusal=refusal)

    @views.get("/contacts")
    @needs(Permission.VIEW)
    def contacts() -> str:
        found = desk.desk.contacts(actor().business_id, asked.text(), asked.page())
        return render_template("desk/contacts.html", section="contacts", page=found, text=asked.text())

    @views.get("/contacts/<int:contact_id>")
    @needs(Permission.VIEW)
    def contact(contact_id: int) -> str:
        return contact_page(contact_id)

    @views.post("/contacts/<int:contact_id>/name")
    @needs(Permission.EDIT)
    def rename_contact(contact_id: int) -> AnyResponse | tuple[str, int]:
        try:
            desk.edits.rename_contact(actor(), contact_id, request.form.get("name", ""))
        except LookupError:
            abort(404)
        except Unreadable as refusal:
            return contact_page(contact_id, words.say(gate.language(), f"refused.{refusal}")), 400
        return redirect(url_for("desk.contact", contact_id=contact_id, told="saved"))
