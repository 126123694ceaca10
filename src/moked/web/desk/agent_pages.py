"""The business, and what its agent says: forms and texts that are published for the next call, with their versions."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.audio import SAMPLE_RATE
from moked.crm.agent_versions import Outdated
from moked.crm.permissions import Permission
from moked.dialog.hours import WEEKDAYS
from moked.dialog.ownerfile import plain, written
from moked.dialog.published import Part
from moked.errors import ProfileError, ProviderError
from moked.web.desk import asked, gate, profile_form, wav, words
from moked.web.desk.gate import actor, long_form, needs
from moked.web.desk.textdiff import changes
from moked.web.parts import AgentParts, DeskParts

_LONGEST_SPOKEN = 120


def add(views: Blueprint, desk: DeskParts, agent: AgentParts) -> None:
    """`/settings`, `/settings/business`, `/settings/pronunciation...`, `/settings/<part>...`."""

    def published(part: Part, text: str, page: str, again: Callable[[str, str, int], Response]) -> AnyResponse:
        """Publish and go back to the page; what is refused is told on it, beside what was typed."""
        base = asked.row(request.form.get("base", "")) or 0
        try:
            agent.versions.publish(actor(), part, text, base=base, note=request.form.get("note", "")[:200])
        except ProfileError as problem:
            return again(problem_words(problem), problem.path, problem.line)
        except Outdated as newer:
            return again(words.say(gate.language(), "settings.outdated", version=newer.version), "", 0)
        agent.published()
        return redirect(url_for(page, told="published"))

    def shown(part: Part) -> tuple[str, int]:
        """The text to edit and the version it is over: what holds, or with `draft=1` what this person tries out."""
        if request.args.get("draft"):
            found = agent.rehearsals.find(actor())
            if found is not None and found[0].part is part:
                return found[0].text, found[0].base
        held = agent.versions.current(actor().business_id)
        return held.texts.of(part), held.version

    @views.get("/settings")
    @needs(Permission.SETTINGS)
    def settings() -> AnyResponse:
        return redirect(url_for("desk.settings_business"))

    # ---- the business

    def business_page(fields: dict[str, Any], base: int, refusal: str = "", path: str = "") -> Response:
        page = render_template(
            "desk/settings_business.html",
            section="settings",
            part_name="business",
            form=profile_form.shown(fields),
            days=WEEKDAYS,
            base=base,
            refusal=refusal,
            wrong=profile_form.error_field(path),
            versions=agent.versions.history(actor().business_id, Part.PROFILE),
        )
        return make_response(page, 400 if refusal else 200)

    @views.get("/settings/business")
    @needs(Permission.SETTINGS)
    def settings_business() -> Response:
        text, base = shown(Part.PROFILE)
        return business_page(plain(text, "profile"), base)

    @views.post("/settings/business")
    @needs(Permission.SETTINGS)
    @long_form
    def publish_business() -> AnyResponse:
        held = agent.versions.current(actor().business_id)
        before = plain(held.texts.profile, "profile")
        fields = profile_form.taken(before, request.form.getlist)
        base = asked.row(request.form.get("base", "")) or 0

        def again(refusal: str, path: str, line: int) -> Response:
            return business_page(fields, base, refusal, path)

        return published(Part.PROFILE, written(fields), "desk.settings_business", again)

    # ---- how words are said

    def pronunciation_page(pairs: list[tuple[str, str]], base: int, refusal: str = "") -> Response:
        page = render_template(
            "desk/settings_pronunciation.html",
            section="settings",
            part_name="pronunciation",
            pairs=pairs,
            base=base,
            refusal=refusal,
            can_listen=agent.speak is not None,
        )
        return make_response(page, 400 if refusal else 200)

    @views.get("/settings/pronunciation")
    @needs(Permission.SETTINGS)
    def settings_pronunciation() -> Response:
        held = agent.versions.current(actor().business_id)
        return pronunciation_page(profile_form.said_words(plain(held.texts.profile, "profile")), held.version)

    @views.post("/settings/pronunciation")
    @needs(Permission.SETTINGS)
    @long_form
    def publish_pronunciation() -> AnyResponse:
        held = agent.versions.current(actor().business_id)
        written_words, said = request.form.getlist("word"), request.form.getlist("said")
        fields = profile_form.with_words(plain(held.texts.profile, "profile"), written_words, said)
        pairs = list(zip(written_words, said, strict=False))

        def again(refusal: str, path: str, line: int) -> Response:
            return pronunciation_page(pairs, held.version, refusal)

        return published(Part.PROFILE, written(fields), "desk.settings_pronunciation", again)

    @views.get("/settings/pronunciation/listen")
    @needs(Permission.SETTINGS)
    def listen_word() -> Response:
        """`said` by the voice of the calls, as a WAV file."""
        text = asked.text("said")[:_LONGEST_SPOKEN]
        if agent.speak is None or not text:
            abort(404)
        try:
            audio = agent.speak(text)
        except ProviderError:
            abort(503)
        return Response(wav.of_ulaw(audio, SAMPLE_RATE), mimetype="audio/wav")

    # ---- the script and the prompt

    def text_page(part: Part, text: str, base: int, refusal: str = "", line: int = 0) -> Response:
        page = render_template(
            "desk/settings_text.html",
            section="settings",
            part_name=part.value,
            text=text,
            base=base,
            refusal=refusal,
            line=line,
            versions=agent.versions.history(actor().business_id, part),
            agent_name=agent.name,
        )
        return make_response(page, 400 if refusal else 200)

    def add_text(part: Part) -> None:
        def show() -> Response:
            return text_page(part, *shown(part))

        def publish() -> AnyResponse:
            text = request.form.get("text", "").replace("\r\n", "\n")
            base = asked.row(request.form.get("base", "")) or 0

            def again(refusal: str, path: str, line: int) -> Response:
                return text_page(part, text, base, refusal, line)

            return published(part, text, f"desk.settings_{part.value}", again)

        name = f"settings_{part.value}"
        changing = long_form(needs(Permission.SETTINGS)(publish))
        views.add_url_rule(f"/settings/{part.value}", name, needs(Permission.SETTINGS)(show), methods=["GET"])
        views.add_url_rule(f"/settings/{part.value}", f"publish_{part.value}", changing, methods=["POST"])

    add_text(Part.SCRIPT)
    add_text(Part.PROMPT)

    # ---- versions

    @views.get("/settings/<any(profile,script,prompt):part>/versions/<int:version>")
    @needs(Permission.SETTINGS)
    def version(part: str, version: int) -> str:
        """A version beside the one that holds now."""
        which, business = Part(part), actor().business_id
        try:
            then = agent.versions.get(business, version)
        except LookupError:
            abort(404)
        held = agent.versions.current(business)
        return render_template(
            "desk/settings_version.html",
            section="settings",
            part_name="business" if which is Part.PROFILE else part,
            part=which,
            version=version,
            held=held.version,
            row=next((row for row in agent.versions.history(business, which) if row.version == version), None),
            lines=changes(then.texts.of(which), held.texts.of(which)),
        )

    @views.post("/settings/<any(profile,script,prompt):part>/versions/<int:version>")
    @needs(Permission.SETTINGS)
    def restore_version(part: str, version: int) -> AnyResponse:
        which = Part(part)
        page = "desk.settings_business" if which is Part.PROFILE else f"desk.settings_{part}"
        try:
            agent.versions.restore(actor(), which, version, base=asked.row(request.form.get("base", "")) or 0)
        except LookupError:
            abort(404)
        except (ProfileError, Outdated):  # what could be read once may not fit the rest any more
            return redirect(url_for("desk.version", part=part, version=version, told="not_restored"))
        agent.published()
        return redirect(url_for(page, told="published"))


def problem_words(problem: ProfileError) -> str:
    """What is wrong and where, in the language of the page."""
    language = gate.language()
    told = words.say(language, f"problem.{problem.key}", **problem.values)
    return f"{words.say(language, 'problem.at', line=problem.line)}: {told}" if problem.line else told
