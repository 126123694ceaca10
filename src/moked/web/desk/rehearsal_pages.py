"""Trying a draft out in writing: the agent of the calls answers, and nothing of it lasts."""

from typing import Final

import anyio
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.agent_versions import Outdated
from moked.crm.permissions import Permission
from moked.crm.rehearsals import Draft
from moked.dialog import CallContext
from moked.dialog.ownerfile import plain, written
from moked.dialog.published import AgentPlan, Part, read_agent
from moked.dialog.tryout import LONGEST, Tryout, begin, say
from moked.errors import ProfileError, ProviderError
from moked.web.desk import asked, gate, profile_form, words
from moked.web.desk.agent_pages import problem_words
from moked.web.desk.gate import actor, long_form, needs
from moked.web.parts import AgentParts, DeskParts

_PATIENCE_S: Final = 30.0
_CALLER: Final = "+972502345678"  # nobody: who tries out calls from a number, as callers do


def add(views: Blueprint, desk: DeskParts, agent: AgentParts) -> None:
    """`/settings/rehearsal`."""

    def context(plan: AgentPlan) -> CallContext:
        return CallContext("rehearsal", _CALLER, plan.business.local(desk.desk.now()))

    def page(draft: Draft | None, talk: Tryout | None, refusal: str = "", said: str = "") -> Response:
        where = "business" if draft is None or draft.part is Part.PROFILE else draft.part.value
        text = render_template(
            "desk/settings_rehearsal.html",
            section="settings",
            part_name=where,
            draft=draft,
            talk=talk,
            refusal=refusal,
            said=said,
            longest=LONGEST,
            agent_name=agent.name,
            edit=url_for(f"desk.settings_{where}"),
        )
        return make_response(text, 400 if refusal else 200)

    def draft_of_form() -> Draft:
        part = asked.word(Part, request.form.get("part", "")) or Part.SCRIPT
        held = agent.versions.current(actor().business_id)
        text = request.form.get("text", held.texts.of(part)).replace("\r\n", "\n")
        if part is Part.PROFILE:
            text = written(profile_form.taken(plain(held.texts.profile, "profile"), request.form.getlist))
        return Draft(part, text, asked.row(request.form.get("base", "")) or held.version)

    def plan_of(draft: Draft) -> AgentPlan:
        held = agent.versions.current(actor().business_id)
        return read_agent(held.texts.with_part(draft.part, draft.text))

    def answered(plan: AgentPlan, before: Tryout | None, text: str) -> Tryout:
        """Raises `ProviderError`, and `TimeoutError`."""

        async def ask() -> Tryout:
            with anyio.fail_after(_PATIENCE_S):
                async with agent.make(plan) as agents:
                    if before is None:
                        return await begin(agents, context(plan))
                    return await say(agents, context(plan), before, text)

        return anyio.run(ask)

    @views.get("/settings/rehearsal")
    @needs(Permission.SETTINGS)
    def rehearsal() -> Response:
        found = agent.rehearsals.find(actor())
        return page(*found) if found is not None else page(None, None)

    @views.post("/settings/rehearsal")
    @needs(Permission.SETTINGS)
    @long_form
    def begin_rehearsal() -> AnyResponse:
        """Of a draft: a form of the settings with its `part`; `again` the same; or without one what is published."""
        found = agent.rehearsals.find(actor()) if request.form.get("again") else None
        draft = found[0] if found is not None else draft_of_form()
        try:
            talk = answered(plan_of(draft), None, "")
        except ProfileError as problem:
            return page(draft, None, problem_words(problem))
        except (ProviderError, TimeoutError):
            return page(draft, None, words.say(gate.language(), "rehearsal.away"))
        agent.rehearsals.keep(actor(), draft, talk)
        return redirect(url_for("desk.rehearsal"))

    @views.post("/settings/rehearsal/publish")
    @needs(Permission.SETTINGS)
    def publish_rehearsed() -> AnyResponse:
        """The draft as it was tried out."""
        found = agent.rehearsals.find(actor())
        if found is None:
            return redirect(url_for("desk.rehearsal"))
        draft, talk = found
        try:
            agent.versions.publish(actor(), draft.part, draft.text, base=draft.base)
        except ProfileError as problem:
            return page(draft, talk, problem_words(problem))
        except Outdated as newer:
            return page(draft, talk, words.say(gate.language(), "settings.outdated", version=newer.version))
        agent.rehearsals.forget(actor())
        agent.published()
        where = "business" if draft.part is Part.PROFILE else draft.part.value
        return redirect(url_for(f"desk.settings_{where}", told="published"))

    @views.post("/settings/rehearsal/say")
    @needs(Permission.SETTINGS)
    def rehearse_line() -> AnyResponse:
        found, text = agent.rehearsals.find(actor()), request.form.get("text", "")
        if found is None:
            return redirect(url_for("desk.rehearsal"))
        draft, talk = found
        if talk.over or not text.strip():
            return redirect(url_for("desk.rehearsal", _anchor="say"))
        try:
            talk = answered(plan_of(draft), talk, text)
        except ProfileError as problem:  # the rest was changed meanwhile
            return page(draft, talk, problem_words(problem), text)
        except (ProviderError, TimeoutError):
            return page(draft, talk, words.say(gate.language(), "rehearsal.away"), text)
        agent.rehearsals.keep(actor(), draft, talk)
        return redirect(url_for("desk.rehearsal", _anchor="say"))
