"""Work after calls: what waits, what runs, what failed and why, and trying it again."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.permissions import Permission
from moked.crm.tables_jobs import JobState
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts

VIEWS = {
    "failed": (JobState.FAILED,),
    "open": (JobState.WAITING, JobState.QUEUED, JobState.RUNNING),
    "done": (JobState.DONE,),
}
"""The tabs of the page, in their order."""


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/jobs`, `/jobs/<id>/retry`."""

    @views.get("/jobs")
    @needs(Permission.JOBS)
    def jobs() -> str:
        """`show` is one of `VIEWS`; without it what failed, where something did."""
        business, shown = actor().business_id, request.args.get("show", "")
        failed = desk.jobs.failed_of(business)
        if shown not in VIEWS:
            shown = "failed" if failed else "open"
        found = desk.jobs.listed(business, VIEWS[shown], asked.page())
        return render_template(
            "desk/jobs.html", section="jobs", page=found, shown=shown, tabs=list(VIEWS), failed=failed, word=_word
        )

    @views.post("/jobs/<int:job_id>/retry")
    @needs(Permission.JOBS)
    def retry_job(job_id: int) -> AnyResponse:
        """What is being done already is left alone."""
        try:
            again = desk.jobs.retry_by(actor(), job_id)
        except LookupError:
            abort(404)
        return redirect(url_for("desk.jobs", show="open" if again else None, told="retried" if again else None))


def _word(key: str) -> str:
    """The word for a step, a reason or a kind of work ('jobs.step.read'); what we have no word for is 'another one'."""
    language = gate.language()
    known = key in words.catalogue(language)
    return words.say(language, key if known else f"{key.rpartition('.')[0]}.other")
