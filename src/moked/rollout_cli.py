"""`moked rollout`: how calls are heard, changed while they run. It writes to the database that the servers follow."""

import getpass
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import typer
from rich.console import Console
from rich.table import Table

from moked.rollout.requests import Change, Refused, read_number, read_share, read_since, state
from moked.settings import Settings, load_settings

if TYPE_CHECKING:
    from moked.crm.rollouts import Rollouts

app = typer.Typer(
    help="How calls are heard: streaming or whole utterances, for all, for a share, or for one number; while they run.",
    no_args_is_help=True,
)
out = Console()

_Read = TypeVar("_Read")

Why = Annotated[str, typer.Option(help="Why, for the history.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(as_json: AsJson = False) -> None:
    """What holds now, who set it, and why."""
    settings = load_settings()
    with _rollouts(settings) as rollouts:
        _show(rollouts, settings, as_json=as_json)


@app.command("set")
def set_(
    streaming: Annotated[str, typer.Option(help="on or off.")],
    percent: Annotated[int | None, typer.Option(min=0, max=100, help="For this share of the calls.")] = None,
    number: Annotated[str, typer.Option(help="For calls from or to this number, such as +972501234567.")] = "",
    lasting: Annotated[str, typer.Option("--for", help="Only for so long, such as 30m or 2h.")] = "",
    why: Why = "",
) -> None:
    """Streaming on or off, for new calls at once and for running ones at their next pause."""
    share = "" if percent is None else str(percent)
    _change({"streaming": streaming, "percent": share, "number": number, "for": lasting, "why": why})


@app.command()
def rollback(why: Why = "") -> None:
    """Streaming off for everybody at once, numbers with a rule of their own too."""
    _change({"rollback": "true", "why": why})


@app.command("clear-number")
def clear_number(number: Annotated[str, typer.Argument(help="The number whose rule goes.")]) -> None:
    """Remove the rule for one number."""
    _apply(lambda now: read_number(number))


@app.command()
def shadow(
    percent: Annotated[int, typer.Option(min=0, max=100, help="Share of the calls; 0 turns it off.")], why: Why = ""
) -> None:
    """Run the other mode silently beside some calls, to compare. Their audio goes to Google twice, and costs twice."""
    _change({"shadow": str(percent), "why": why})


@app.command()
def history(as_json: AsJson = False) -> None:
    """Who changed what, when and why; newest first."""
    with _rollouts(load_settings()) as rollouts:
        changes = rollouts.history()
    if as_json:
        _print_json(changes)
        return
    table = Table("when", "who", "what", "why", box=None, pad_edge=False)
    for change in changes:
        table.add_row(change["at"][:19], change["by"], change["what"], change["why"])
    out.print(table, markup=False, highlight=False)


@app.command()
def report(
    since: Annotated[str, typer.Option(help="How far back, such as 24h or 7d.")] = "24h",
    as_json: AsJson = False,
    examples: Annotated[bool, typer.Option("--examples", help="Show callers' words where the modes differ.")] = False,
) -> None:
    """Both modes side by side: from the live calls, and from the shadows that heard the same audio."""
    seconds = _read(lambda: read_since(since))
    with _rollouts(load_settings()) as rollouts:
        found = rollouts.report(seconds, examples=examples)
    if as_json:
        _print_json(found)
    else:
        _show_report(found, since)


def _change(fields: Mapping[str, str]) -> None:
    _apply(lambda now: read_share(fields, now=now))


def _apply(read: Callable[[int], Change]) -> None:
    settings = load_settings()
    by = f"cli:{_user()}"
    with _rollouts(settings) as rollouts:
        asked = _read(lambda: read(rollouts.now()))
        _read(lambda: rollouts.change(lambda policy: asked.make(policy, by), by=by, what=asked.what, why=asked.why))
        if settings.redis_url:  # without it the servers learn of the change within the second
            from moked.bus import announce
            from moked.rollout.live import TOPIC

            anyio.run(announce, settings.redis_url, TOPIC, "rollout.changed")
        _show(rollouts, settings, as_json=False)


def _read(work: Callable[[], _Read]) -> _Read:
    """A request that makes no sense is one line for a person."""
    try:
        return work()
    except (Refused, LookupError) as error:
        raise typer.BadParameter(str(error)) from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


@contextmanager
def _rollouts(settings: Settings) -> Iterator["Rollouts"]:
    from moked.crm import db
    from moked.crm.rollouts import Rollouts

    engine = db.connect(settings.database)
    try:
        db.migrate(engine)
        yield Rollouts(engine)
    finally:
        engine.dispose()


def _show(rollouts: "Rollouts", settings: Settings, *, as_json: bool) -> None:
    stored = rollouts.load()
    held = state(
        stored.version,
        stored.policy,
        default=settings.enable_streaming_stt,
        means=settings.google_speech,
        now=rollouts.now(),
        last=rollouts.history(1),
    )
    if as_json:
        _print_json(held)
        return
    lines = [held["now"][:1].upper() + held["now"][1:] + "."]
    share = held["share"]
    if share is not None and share["until"]:
        lines.append(f"Until {share['until']}; then what held before.")
    for rule in held["numbers"]:
        until = f" until {rule['until']}" if rule["until"] else ""
        lines.append(f"{rule['number']}: streaming {'on' if rule['streaming'] else 'off'}{until}.")
    if held["shadow_percent"]:
        lines.append(f"The other mode runs silently beside {held['shadow_percent']} % of the calls.")
    last = held["last_change"]
    if last is not None:
        why = f" Why: {last['why']}" if last["why"] else ""
        lines.append(f"Last: {last['what']}, by {last['by']} at {last['at'][:19]} UTC.{why}")
    if held["note"]:
        lines.append(held["note"])
    for line in lines:
        out.print(line, markup=False, highlight=False)


def _show_report(found: Mapping[str, Any], since: str) -> None:
    live = Table("heard by", "calls", "turns", "response p50", "p95", title=f"Live calls, last {since}", box=None)
    for name, row in found["live"].items():
        live.add_row(
            name, str(row["calls"]), str(row["turns"]), _ms(row["response_p50_ms"]), _ms(row["response_p95_ms"])
        )
    out.print(live, highlight=False)
    shadow = found["shadow"]
    modes = shadow["modes"]
    table = Table("", *modes, title=f"Same audio, both modes: {shadow['calls']} calls", box=None)
    rows: dict[str, Callable[[Any], str]] = {
        "utterances": lambda mode: str(mode["utterances"]),
        "without a final": lambda mode: str(mode["unanswered"]),
        "final after speech, p50": lambda mode: _ms(mode["final_ms"]["p50"]),
        "final after speech, p95": lambda mode: _ms(mode["final_ms"]["p95"]),
        "first partial, p50": lambda mode: _ms(mode["first_partial_ms"]["p50"]),
        "between partials, p50": lambda mode: _ms(mode["partial_gap_ms"]["p50"]),
        "failures per 1000 utterances": lambda mode: str(mode["failures_per_1000_utterances"] or 0),
        "moves to another engine": lambda mode: str(mode["switches"]),
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(mode) for mode in modes.values()))
    table.add_row("words", *(str(shadow["words"][mode]["words"]) for mode in modes))
    table.add_row("words that differ", *(_rate(shadow["words"][mode]["difference_rate"]) for mode in modes))
    out.print(table, highlight=False)
    if shadow["left_early"]:
        out.print(f"Shadows that left early: {shadow['left_early']}", highlight=False)
    for example in shadow.get("examples", ()):
        told = "; ".join(f"{mode}: {example[mode] or '-'}" for mode in modes if mode in example)
        out.print(f"{example['call_sid']}  {told}", markup=False, highlight=False)


def _ms(value: int | None) -> str:
    return "-" if value is None else f"{value} ms"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _print_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2) + "\n")
