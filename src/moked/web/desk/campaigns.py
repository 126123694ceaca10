"""Campaigns: small lists of calls that the agent makes, with their progress."""

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.edits import Unreadable
from moked.crm.outreach import NewCampaign
from moked.crm.permissions import Permission
from moked.web.desk import asked
from moked.web.desk.gate import actor, needs
from moked.web.desk.outreach import refusal_of, typed_or_file
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/campaigns`, `/campaigns/new`, `/campaigns/<id>` and its changes."""

    def campaign_page(campaign_id: int, refusal: str = "") -> Response:
        try:
            row, numbers = desk.outreach.campaign(actor().business_id, campaign_id, asked.page())
        except LookupError:
            abort(404)
        page = render_template(
            "desk/campaign.html", section="campaigns", row=row, page=numbers, refusal=refusal, now=desk.desk.now()
        )
        return make_response(page, 400 if refusal else 200)

    def new_page(refusal: str = "") -> Response:
        page = render_template("desk/campaign_new.html", section="campaigns", refusal=refusal, typed=request.form)
        return make_response(page, 400 if refusal else 200)

    @views.get("/campaigns")
    @needs(Permission.VIEW)
    def campaigns() -> str:
        rows = desk.outreach.campaigns(actor().business_id)
        return render_template("desk/campaigns.html", section="campaigns", rows=rows)

    @views.get("/campaigns/new")
    @needs(Permission.OUTREACH)
    def new_campaign() -> Response:
        return new_page()

    @views.post("/campaigns/new")
    @needs(Permission.OUTREACH)
    def create_campaign() -> AnyResponse:
        form = request.form
        new = NewCampaign(
            name=form.get("name", ""),
            subject=form.get("subject", ""),
            purpose=form.get("purpose", ""),
            numbers=typed_or_file("numbers"),
            stage=form.get("stage", ""),
            per_minute=form.get("per_minute", ""),
            max_parallel=form.get("max_parallel", ""),
            max_attempts=form.get("max_attempts", ""),
            retry_minutes=form.get("retry_minutes", ""),
        )
        try:
            campaign_id = desk.outreach.create_campaign(actor(), new)
        except Unreadable as wrong:
            return new_page(refusal_of(wrong))
        return redirect(url_for("desk.campaign", campaign_id=campaign_id, told="saved"))

    @views.get("/campaigns/<int:campaign_id>")
    @needs(Permission.VIEW)
    def campaign(campaign_id: int) -> Response:
        return campaign_page(campaign_id)

    @views.post("/campaigns/<int:campaign_id>/run")
    @needs(Permission.OUTREACH)
    def run_campaign(campaign_id: int) -> AnyResponse:
        """`running` is '1' or '0'."""
        running = request.form.get("running") == "1"
        try:
            desk.outreach.run_campaign(actor(), campaign_id, running=running)
        except LookupError:
            abort(404)
        except Unreadable as wrong:
            return campaign_page(campaign_id, refusal_of(wrong))
        return redirect(url_for("desk.campaign", campaign_id=campaign_id, told="saved"))

    @views.post("/dials/<int:dial_id>/approve")
    @needs(Permission.OUTREACH)
    def approve_dial(dial_id: int) -> AnyResponse:
        try:
            campaign_id = desk.outreach.approve_dial(actor(), dial_id)
        except LookupError:
            abort(404)
        if campaign_id is None:
            return redirect(url_for("desk.messages", told="saved"))
        return redirect(url_for("desk.campaign", campaign_id=campaign_id, told="saved"))
