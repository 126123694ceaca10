"""`moked turns`: what was decided about the ends of callers' turns, and what came of it."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from moked.rollout.requests import Refused, read_since
from moked.settings import load_settings

if TYPE_CHECKING:
    from moked.crm.decisions import Decisions

app = typer.Typer(help="Decisions that a caller's turn was over: look at them, and export them.", no_args_is_help=True)
out = Console()

Since = Annotated[str, typer.Option(help="How far back, such as 24h or 7d. Default: everything.")]


@app.command()
def export(
    since: Since = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV. The default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line for each decision.")] = False,
    with_text: Annotated[
        bool, typer.Option("--with-text", help="With what was said: personal data, mind where it goes.")
    ] = False,
) -> None:
    """Print every decision, oldest first: reason, evidence and outcome, without what was said."""
    from moked.crm.decisions import COLUMNS, TEXTS

    if as_csv and as_json:
        raise typer.BadParameter("take --csv or --json, not both")
    with _decisions() as decisions:
        rows = decisions.rows(_seconds(since), with_text=with_text)
        if as_json:
            for row in rows:
                sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        table = csv.DictWriter(sys.stdout, (*COLUMNS, *(TEXTS if with_text else ())), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


@app.command()
def show(since: Since = "7d") -> None:
    """Reasons side by side: how often, and how often the caller had not finished."""
    counts: Counter[tuple[str, str]] = Counter()
    with _decisions() as decisions:
        for row in decisions.rows(_seconds(since)):
            counts[row["reason"], "cut_off" if row["cut_off"] else row["outcome"] or "open"] += 1
    outcomes = ("answered", "reopened", "cut_in", "cut_off", "ended", "open")
    table = Table("reason", "decisions", *outcomes, box=None, pad_edge=False)
    reasons = Counter[str]()
    for (reason, _), count in counts.items():
        reasons[reason] += count
    for reason, total in reasons.most_common():
        table.add_row(reason, str(total), *(str(counts[reason, outcome] or "-") for outcome in outcomes))
    out.print(table, markup=False, highlight=False)


def _seconds(since: str) -> int | None:
    if not since:
        return None
    try:
        return read_since(since)
    except Refused as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _decisions() -> Iterator["Decisions"]:
    from moked.crm import db
    from moked.crm.decisions import Decisions

    engine = db.connect(load_settings().database)
    try:
        db.migrate(engine)
        yield Decisions(engine)
    finally:
        engine.dispose()
