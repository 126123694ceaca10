"""`moked whatsapp`: fetch the bridge's dependencies, and see how the account stands."""

import typer
from rich.console import Console

from moked.settings import load_settings

app = typer.Typer(help="WhatsApp through a linked device: the bridge program.", no_args_is_help=True)
out = Console()


@app.command()
def install() -> None:
    """Fetch what the bridge needs into DATA_DIR, with npm: the versions and hashes of its lock, no scripts."""
    from moked.channels import install as bridge
    from moked.written import bridge_folder

    settings = load_settings()
    target = bridge_folder(settings)
    if bridge.installed(target):
        out.print("The bridge is installed already.")
        return
    with out.status("Fetching the bridge's dependencies"):
        bridge.install(target)
    out.print(f"The bridge is in {target}. Set WHATSAPP=baileys, start Moked, and link the phone in the desk.")
