"""`moked privacy`: the retention clock, one person's data, and their erasure, from the command line of the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from moked.errors import PrivacyError, SettingsError
from moked.settings import Settings, ensure_data_keys, load_settings

if TYPE_CHECKING:
    from moked.crm.erasure import Erasure, Outside
    from moked.crm.rekeying import Rekeying
    from moked.crm.retention import Provider, Retention
    from moked.crm.sealed import Sealer

app = typer.Typer(help="Personal data: how long it is kept, one person's, and its erasure.", no_args_is_help=True)
out = Console()

Phone = Annotated[str, typer.Option(help="The person's number, such as 050-1234567.")]


@app.command()
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and delete nothing.")] = False,
) -> None:
    """Delete what is older than each business keeps it, as the server does every night."""
    with _tools(load_settings()) as tools:
        done = tools.retention.purge(datetime.now(UTC), dry=dry_run)
        if not dry_run:
            tools.outside([])
    table = Table("business", *next(iter(map(asdict, done.values())), {"nothing": 0}))
    for business, counts in done.items():
        table.add_row(str(business), *map(str, asdict(counts).values()))
    out.print("A dry run: nothing was deleted." if dry_run else "Deleted:", highlight=False)
    out.print(table)


@app.command()
def export(
    phone: Phone,
    to: Annotated[Path, typer.Option(help="The ZIP to write.", dir_okay=False)],
) -> None:
    """Write everything about one person to a ZIP: rows as JSON, recordings as WAV. It is readable: hand it over
    safely."""
    import os

    with _tools(load_settings()) as tools:
        contact = tools.contact(phone)
        pieces = tools.erasure.export(None, tools.business_id, contact)
        with os.fdopen(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            for piece in pieces:
                file.write(piece)
    out.print(f"{to}", highlight=False)


@app.command()
def erase(
    phone: Phone,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete everything about one person, recordings too; only a keyed hash of the number stays. It cannot be
    undone."""
    from moked.crm.erasure import Held, StillTalking

    with _tools(load_settings()) as tools:
        contact = tools.contact(phone)
        if not yes:
            typer.confirm(f"Erase contact {contact} and all calls, leads and recordings?", abort=True)
        try:
            done = tools.erasure.erase(None, tools.business_id, contact)
        except Held as held:
            raise PrivacyError(f"a legal hold keeps this contact: {held}. Release it at the desk first.") from None
        except StillTalking:
            raise PrivacyError("a call of theirs is running. Try again when it is over.") from None
    out.print(f"Erased: {done.calls} calls, {done.leads} leads, {done.copies} copies at the provider.", highlight=False)


@app.command()
def rekey(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
) -> None:
    """Seal anew, with the first key of DATA_KEY, what is sealed with an older one after it. It may be stopped and begun
    anew at any time."""
    from moked import spool
    from moked.crm.rekeying import current

    settings = load_settings()
    with _tools(settings) as tools:
        done = tools.rekeying.run(dry=dry_run)
        waiting = sum(spool.stale(path, tools.sealer) for path in spool.left(settings.data_dir / "spool"))
    table = Table("what", "total", "under an older key" if dry_run else "sealed anew", "no key opens")
    for what, count in done.items():
        table.add_row(what, str(count.total), str(count.renewed), str(count.lost))
    out.print("A dry run: nothing was changed." if dry_run else "Done:", highlight=False)
    out.print(table)
    if waiting:
        out.print(f"{waiting} calls' audio waits to be transcribed under an older key: a day at most.", highlight=False)
    lost = sum(count.lost for count in done.values())
    if lost:
        raise PrivacyError(f"{lost} are opened by none of these keys. Keep every older key that there is.")
    if current(done) and not waiting:
        out.print("Nothing is under an older key: it may be removed from DATA_KEY.", highlight=False)
    elif not dry_run:
        out.print("Run it once more before an older key is removed.", highlight=False)


@dataclass(frozen=True, slots=True)
class _Tools:
    sealer: "Sealer"
    rekeying: "Rekeying"
    retention: "Retention"
    erasure: "Erasure"
    outside: "Outside"
    business_id: int

    def contact(self, phone: str) -> int:
        from moked.crm.phone import to_e164

        number = to_e164(phone) or ""
        found = self.erasure.find(self.business_id, number) if number.startswith("+") else None
        if found is None:
            raise PrivacyError("nobody with this number is on record.")
        return found


@contextmanager
def _tools(settings: Settings) -> Iterator[_Tools]:
    from moked import parts
    from moked.crm import db
    from moked.crm.erasure import Erasure
    from moked.crm.rekeying import Rekeying
    from moked.crm.retention import Retention
    from moked.crm.sealed import Sealer
    from moked.crm.service import Crm
    from moked.dialog.business import load_business
    from moked.erasing import Leftovers
    from moked.recording.archive import Archive

    engine = db.connect(settings.database)
    try:
        if not db.schema_state(engine).ready:
            raise SettingsError("DATABASE_URL: the tables are of another version. Start `moked serve` once first.")
        sealer = Sealer(*ensure_data_keys(settings))
        archive = Archive(
            engine,
            sealer,
            settings.data_dir / "recordings",
            parts.recordings_store(settings),
        )
        provider: Provider | None = parts.provider_recordings(settings)
        outside = Leftovers(settings.data_dir, archive.keeper)
        erasure = Erasure(engine, source=archive.library, outside=outside, provider=provider)
        business = load_business(settings.business_profile)
        business_id = Crm(engine).ensure_business(business.name, timezone=business.timezone)
        yield _Tools(sealer, Rekeying(engine, sealer), Retention(engine, provider), erasure, outside, business_id)
    finally:
        engine.dispose()
