"""`moked business`: several businesses in one installation. Each has its own profile, script, numbers, people and
leads; the number that is called chooses. The profiles lie in `BUSINESSES_DIR/<key>/`, on every host alike.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.table import Table

from moked.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Several businesses in one installation, strictly apart.", no_args_is_help=True)
out = Console()

Key = Annotated[str, typer.Argument(help="Its stable name: small letters, digits, hyphens.")]
Numbers = Annotated[list[str] | None, typer.Option("--number", help="A number it is called at; may be given again.")]


@app.command("list")
def list_() -> None:
    """All businesses, with the numbers they are called at."""
    from moked.crm.businesses import Businesses

    with _engine(load_settings()) as engine:
        table = Table("key", "name", "called at")
        for one in Businesses(engine).all():
            table.add_row(one.key, one.name, ", ".join(one.numbers) or "every number nobody else has")
        out.print(table)


@app.command()
def add(
    key: Key,
    profile: Annotated[Path, typer.Option(help="Its profile, as BUSINESS_PROFILE is for the first one.")],
    script: Annotated[Path | None, typer.Option(help="Its script, as AGENT_SCRIPT.")] = None,
    number: Numbers = None,
) -> None:
    """Add a business, or bring its profile up to date. Running servers follow within seconds."""
    from moked.crm.businesses import Businesses, check_key
    from moked.crm.service import Crm
    from moked.dialog.business import load_business
    from moked.dialog.scriptfile import load_script

    settings = load_settings()
    try:
        check_key(key)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    business = load_business(profile)
    load_script(script, business.voice_gender, business.name)
    folder = settings.businesses_root / key
    folder.mkdir(parents=True, exist_ok=True)
    if script is not None:
        _copied(script, folder / "script.yaml")
    _copied(profile, folder / "business.yaml")
    with _engine(settings) as engine:
        Crm(engine).ensure_business(business.name, key=key, timezone=business.timezone)
        businesses = Businesses(engine)
        for one in number or []:
            try:
                businesses.give(one, key)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
    _tell(settings)
    out.print(
        f"{business.name} is there; running servers serve it within seconds. Now `moked business owner {key} EMAIL`.",
        highlight=False,
    )


@app.command("give-number")
def give_number(key: Key, number: Annotated[str, typer.Argument(help="Such as +97231234567.")]) -> None:
    """Calls to this number are this business's, from the next one on."""
    from moked.crm.businesses import Businesses

    with _engine(load_settings()) as engine:
        try:
            given = Businesses(engine).give(number, key)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    out.print(f"{given} is {key}'s.", highlight=False)


@app.command("take-number")
def take_number(number: Annotated[str, typer.Argument(help="Such as +97231234567.")]) -> None:
    """Calls to this number are the first business's again."""
    from moked.crm.businesses import Businesses

    with _engine(load_settings()) as engine:
        found = Businesses(engine).take(number)
    out.print("Done." if found else "It was nobody's.")


@app.command()
def owner(
    key: Key,
    email: Annotated[str, typer.Argument(help="The owner's address; it is their login.")],
    name: Annotated[str, typer.Option(help="Their name.")] = "",
    lost_phone: Annotated[bool, typer.Option("--lost-phone", help="Turn their second factor off.")] = False,
) -> None:
    """Print a link, good once and for three days, that opens an owner's account of this business."""
    from moked.crm.access import Access, Refused
    from moked.crm.businesses import Businesses

    settings = load_settings()
    with _engine(settings) as engine:
        found = next((one for one in Businesses(engine).all() if one.key == key), None)
        if found is None:
            raise typer.BadParameter(f"there is no business {key!r}")
        try:
            token = Access(engine).invite_owner(found.id, email, name or email.partition("@")[0], lost_phone=lost_phone)
        except Refused as refusal:
            raise typer.BadParameter(_WHY.get(str(refusal), str(refusal))) from None
    base = settings.public_base_url or f"http://127.0.0.1:{settings.port}"
    typer.echo(f"{base}/join?token={token}")


_WHY = {"email": "this is no address", "taken": "this address has an account in another business"}


def _copied(source: Path, to: Path) -> None:
    """Whole or not at all: servers may read it at this moment."""
    if source.resolve() != to.resolve():
        part = to.with_suffix(".part")
        shutil.copyfile(source, part)
        part.replace(to)


def _tell(settings: Settings) -> None:
    """Where there is a bus between processes, they need not wait for their next look."""
    if settings.redis_url:
        from moked.bus import announce
        from moked.newcomers import TOPIC

        anyio.run(announce, settings.redis_url, TOPIC, "business.changed")


@contextmanager
def _engine(settings: Settings) -> Iterator["Engine"]:
    from moked.crm import db

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = db.connect(settings.database)
    try:
        db.migrate(engine)
        yield engine
    finally:
        engine.dispose()
