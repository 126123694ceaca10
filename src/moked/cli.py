"""The `moked` command: reads the settings, hands them to a role or a tool, and shows a person what happens."""

from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from moked import __version__
from moked.errors import MokedError
from moked.settings import Settings, load_settings

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
) -> None:
    """Start everything in one process, on embedded parts where nothing else is set."""
    _serve("all", host, port)


@app.command()
def serve(
    role: Annotated[str, typer.Option(help="web, media, worker, or all.")] = "all",
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port. Default: PORT.")] = None,
) -> None:
    """Serve one role of a larger installation: web, media or worker."""
    _serve(role, host, port)


def _serve(role_name: str, host: str | None, port: int | None) -> None:
    from moked import log, roles

    try:
        role = roles.Role(role_name)
    except ValueError:
        raise typer.BadParameter(f"{role_name!r} is not a role: take web, media, worker or all") from None
    settings = load_settings()
    _configure_log(settings)
    for warning in settings.warnings:
        err.print(f"[yellow]{warning}[/]", highlight=False)
    screen = _Screen(role.value)
    try:
        with screen.progress:
            anyio.run(
                lambda: roles.serve(
                    settings,
                    role,
                    host or settings.host,
                    settings.port if port is None else port,
                    watcher=roles.Watcher(screen.choices, screen.loading, screen.phrases, screen.listening),
                ),
                backend_options={"use_uvloop": True},
            )
    except BaseExceptionGroup as group:
        known = group.subgroup(MokedError)
        if known is None or known != group:
            raise
        raise _first_leaf(known) from None
    finally:
        log.shutdown()
    out.print("Stopped. Every call is on record.")


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


def _configure_log(settings: Settings) -> None:
    from moked import log

    log.configure(settings.log_level, settings.log_format, settings.log_transcripts)


class _Screen:
    """What the owner sees while Moked comes up."""

    def __init__(self, role: str) -> None:
        self._role = role
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
        table = Table(title=f"moked {__version__} ({self._role})", title_justify="left", box=None, pad_edge=False)
        for heading in ("part", "uses", "because", "better"):
            table.add_column(heading, style="dim" if heading in ("because", "better") else "")
        for choice in choices:
            table.add_row(choice.part, choice.chosen, choice.why, choice.better or "-")
        out.print(table)

    def listening(self, house: "House") -> None:
        self.progress.update(self._loading, visible=False)
        lines = [f"Listening on [bold]{house.base_url}[/] for [bold]{house.business.name}[/]"]
        if house.settings.twilio_auth_token is None:
            lines += [
                "",
                "Try it now, in another terminal:",
                "  [bold].venv/bin/moked call[/]                        a whole rehearsal call in Hebrew",
                '  [bold].venv/bin/moked call "יש לי נזילה במטבח"[/]     with your own words',
                "  [bold].venv/bin/moked call recording.wav[/]          or a recording",
                "",
                "For real calls set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and PUBLIC_BASE_URL,",
                "then ask [bold].venv/bin/moked doctor[/].",
            ]
        else:
            lines.append(f"Twilio's webhook for incoming calls: {house.base_url}/webhook/incoming_call")
        out.print(Panel("\n".join(lines), expand=False))
