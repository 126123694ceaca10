"""The inbox: what is written with people, by the agent or by a person; and the WhatsApp account it goes through."""

import secrets
from collections.abc import Callable, Sequence

import segno
from flask import Blueprint, abort, redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from moked.channels import BAILEYS
from moked.crm.edits import Unreadable
from moked.crm.inbox_desk import Order, Which
from moked.crm.permissions import Permission
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/inbox`, `/inbox/<id>` and its changes, `/channels`; nothing where no inbox is kept."""
    inbox = desk.inbox
    if inbox is None:
        return

    def page(
        conversation_id: int | None = None,
        refusal: str = "",
        draft: str = "",
        chosen: str = "",
        filled: Sequence[str] = (),
    ) -> str:
        """`chosen`: a template, and what was `filled` into its places."""
        business = actor().business_id
        which = asked.word(Which, request.args.get("which", "")) or Which.ALL
        thread = None
        if conversation_id is not None:
            thread = inbox.thread(business, conversation_id, actor().name)
            if thread is None:
                abort(404)
        return render_template(
            "desk/inbox.html",
            section="inbox",
            page=inbox.conversations(business, which, asked.page()),
            which=which,
            kinds=list(Which),
            thread=thread,
            refusal=refusal,
            draft=draft,
            chosen=chosen,
            filled=filled,
            form_key=secrets.token_hex(8),
            channel=inbox.channel(business, BAILEYS),
        )

    @views.get("/inbox")
    @needs(Permission.VIEW)
    def inbox_list() -> str:
        return page()

    @views.get("/inbox/<int:conversation_id>")
    @needs(Permission.VIEW)
    def conversation(conversation_id: int) -> str:
        return page(conversation_id)

    @views.post("/inbox/<int:conversation_id>/seen")
    @needs(Permission.EDIT)
    def conversation_seen(conversation_id: int) -> AnyResponse:
        _found(lambda: inbox.seen(actor(), conversation_id))
        return redirect(url_for("desk.conversation", conversation_id=conversation_id))

    @views.post("/inbox/<int:conversation_id>/take")
    @needs(Permission.EDIT)
    def take_conversation(conversation_id: int) -> AnyResponse:
        _found(lambda: inbox.take_over(actor(), conversation_id))
        return redirect(url_for("desk.conversation", conversation_id=conversation_id))

    @views.post("/inbox/<int:conversation_id>/hand_back")
    @needs(Permission.EDIT)
    def hand_back_conversation(conversation_id: int) -> AnyResponse:
        _found(lambda: inbox.hand_back(actor(), conversation_id))
        return redirect(url_for("desk.conversation", conversation_id=conversation_id))

    @views.post("/inbox/<int:conversation_id>/send")
    @needs(Permission.EDIT)
    def send_message(conversation_id: int) -> AnyResponse | tuple[str, int]:
        text = request.form.get("text", "")
        try:
            _found(lambda: inbox.send(actor(), conversation_id, text, request.form.get("key", "")[:64]))
        except Unreadable as refusal:
            told = words.say(gate.language(), f"refused.{refusal}")
            return page(conversation_id, told, text), 400
        return redirect(url_for("desk.conversation", conversation_id=conversation_id))

    @views.post("/inbox/<int:conversation_id>/template")
    @needs(Permission.EDIT)
    def send_template(conversation_id: int) -> AnyResponse | tuple[str, int]:
        name, values = request.form.get("template", ""), request.form.getlist("value")
        key = request.form.get("key", "")[:64]
        try:
            _found(lambda: inbox.send_template(actor(), conversation_id, name, values, key))
        except Unreadable as refusal:
            told = words.say(gate.language(), f"refused.{refusal}")
            return page(conversation_id, told, chosen=name, filled=values), 400
        return redirect(url_for("desk.conversation", conversation_id=conversation_id))

    def channel_page(refusal: str = "") -> str:
        row = inbox.channel(actor().business_id, BAILEYS)
        drawn = _drawn(row.qr) if row.qr else Markup("")
        return render_template("desk/channels.html", section="inbox", channel=row, drawn=drawn, refusal=refusal)

    @views.get("/channels")
    @needs(Permission.CHANNELS)
    def channels() -> str:
        return channel_page()

    @views.post("/channels/whatsapp")
    @needs(Permission.CHANNELS)
    def order_whatsapp() -> AnyResponse | tuple[str, int]:
        order = asked.word(Order, request.form.get("order", ""))
        if order is None:
            abort(400)
        try:
            inbox.order(actor(), BAILEYS, order, request.form.get("phone", ""))
        except Unreadable as refusal:
            return channel_page(words.say(gate.language(), f"refused.{refusal}")), 400
        return redirect(url_for("desk.channels"))


def _found(work: Callable[[], None]) -> None:
    try:
        work()
    except LookupError:
        abort(404)


def _drawn(text: str) -> Markup:
    """A QR code as a picture in the page: no other server draws it, and none sees what it says."""
    code = segno.make(text, error="m", micro=False)
    size = code.symbol_size(border=0)[0]
    dark = "".join(
        f"M{x + 4} {y + 4}h1v1h-1z" for y, row in enumerate(code.matrix) for x, module in enumerate(row) if module
    )
    return Markup(
        '<svg class="qr" viewBox="0 0 {0} {0}" role="img" aria-labelledby="qr-title" shape-rendering="crispEdges">'
        '<rect width="{0}" height="{0}" fill="#fff"/><path d="{1}" fill="#000"/></svg>'
    ).format(size + 8, dark)
