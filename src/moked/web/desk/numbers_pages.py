"""The business's numbers: those that ring here, where calls are passed on to, and what to tell the carrier."""

from flask import Blueprint, render_template

from moked.crm.permissions import Permission
from moked.dialog.published import read_agent
from moked.web.desk.gate import actor, needs
from moked.web.parts import AgentParts, DeskParts, WebParts


def add(views: Blueprint, parts: WebParts, desk: DeskParts, agent: AgentParts) -> None:
    """`/settings/numbers`."""

    @views.get("/settings/numbers")
    @needs(Permission.SETTINGS)
    def settings_numbers() -> str:
        business = read_agent(agent.versions.current(actor().business_id).texts).business
        base = parts.public_base_url()
        return render_template(
            "desk/settings_numbers.html",
            section="settings",
            part_name="numbers",
            business=business,
            numbers=desk.desk.numbers(actor().business_id),
            webhooks=(("voice", f"{base}/webhook/incoming_call"), ("status", f"{base}/webhook/call_status")),
        )
