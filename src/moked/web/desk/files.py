"""Lists in and out: contacts from a CSV file, with a dry run and a way back; contacts and leads as files for Excel."""

from collections.abc import Callable

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm import csv_files
from moked.crm.csv_files import BadFile, Column
from moked.crm.edits import Unreadable
from moked.crm.exporting import FORMATS, KINDS, File
from moked.crm.filters import LeadFilter
from moked.crm.permissions import Permission
from moked.web.desk import gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts

_FORM = 64 * 1024  # what else a form carries
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/contacts/import...`, `/export...`."""

    def imports_page(refusal: str = "", status: int = 200) -> Response:
        jobs = desk.desk.imports(actor().business_id)
        page = render_template("desk/imports.html", section="contacts", jobs=jobs, refusal=refusal, now=desk.desk.now())
        return make_response(page, status)

    def import_page(job_id: int, refusal: str = "", status: int = 200) -> Response:
        job = desk.desk.import_job(actor().business_id, job_id)
        if job is None:
            abort(404)
        own = desk.desk.lead_fields(actor().business_id)
        choices = [*((one.value, "") for one in Column), *((f"extra.{name}", name) for name in own)]
        page = render_template(
            "desk/import.html", section="contacts", job=job, choices=choices, refusal=refusal, now=desk.desk.now()
        )
        return make_response(page, status)

    def changed(job_id: int, change: Callable[[], object], told: str) -> AnyResponse:
        try:
            change()
        except LookupError:
            abort(404)
        except Unreadable as refusal:
            return import_page(job_id, words.say(gate.language(), f"refused.import_{refusal}"), 400)
        return redirect(url_for("desk.import_job", job_id=job_id, told=told or None))

    @views.get("/contacts/import")
    @needs(Permission.FILES)
    def imports() -> Response:
        return imports_page()

    @views.post("/contacts/import")
    @needs(Permission.FILES)
    @gate.takes_file(csv_files.MOST_BYTES + _FORM)
    def keep_file() -> AnyResponse:
        sent = request.files.get("file")
        try:
            if sent is None or not sent.filename:
                raise BadFile("none")
            job = desk.edits.keep_file(actor(), sent.filename, sent.stream.read(csv_files.MOST_BYTES + 1))
        except BadFile as why:
            return imports_page(words.say(gate.language(), f"bad_file.{why}"), 400)
        return redirect(url_for("desk.import_job", job_id=job))

    @views.get("/contacts/import/<int:job_id>")
    @needs(Permission.FILES)
    def import_job(job_id: int) -> Response:
        return import_page(job_id)

    @views.post("/contacts/import/<int:job_id>/columns")
    @needs(Permission.FILES)
    def map_columns(job_id: int) -> AnyResponse:
        columns = request.form.getlist("column")
        return changed(job_id, lambda: desk.edits.map_columns(actor(), job_id, columns), "")

    @views.post("/contacts/import/<int:job_id>/apply")
    @needs(Permission.FILES)
    def apply_import(job_id: int) -> AnyResponse:
        skip = request.form.get("skip") == "1"
        return changed(job_id, lambda: desk.edits.apply_import(actor(), job_id, skip_wrong=skip), "imported")

    @views.post("/contacts/import/<int:job_id>/undo")
    @needs(Permission.FILES)
    def undo_import(job_id: int) -> AnyResponse:
        return changed(job_id, lambda: desk.edits.undo_import(actor(), job_id), "import_undone")

    @views.post("/contacts/import/<int:job_id>/drop")
    @needs(Permission.FILES)
    def drop_import(job_id: int) -> AnyResponse:
        try:
            desk.edits.drop_import(actor(), job_id)
        except LookupError:
            abort(404)
        return redirect(url_for("desk.imports"))

    @views.get("/export")
    @needs(Permission.FILES)
    def exports() -> Response:
        jobs = desk.desk.exports(actor().business_id)
        wanted = LeadFilter.of_query(request.args).as_query()
        return make_response(render_template("desk/exports.html", section="leads", jobs=jobs, query=wanted))

    @views.post("/export")
    @needs(Permission.FILES)
    def export() -> AnyResponse:
        """A small list comes at once; a large one is written by a worker, and waits on the page."""
        kind, format_ = request.form.get("kind", ""), request.form.get("format", "")
        if kind not in KINDS or format_ not in FORMATS:
            abort(400)
        made = desk.edits.export(actor(), kind, format_, LeadFilter.of_query(request.form))
        return _sent(made) if isinstance(made, File) else redirect(url_for("desk.exports", told="export"))

    @views.get("/export/<int:job_id>")
    @needs(Permission.FILES)
    def exported(job_id: int) -> AnyResponse:
        found = desk.edits.exported(actor(), job_id)
        if found is None:
            abort(404)
        return _sent(found)


def _sent(file: File) -> Response:
    answer = make_response(file.data)
    answer.headers["Content-Type"] = _TYPES[file.format]
    answer.headers["Content-Disposition"] = f'attachment; filename="{file.name}"'
    return answer
