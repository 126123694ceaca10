"""A simulated call while it runs: the server's live events, printed line by line."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from moked.simulate.bidi import Bidi, isolate
from moked.simulate.labels import labels


class LiveView:
    """Prints the server's live events as they come: an `OnEvent` and a context manager.

    In a terminal an interim is one line that rewrites itself until its final; in a pipe interims are left out.
    """

    def __init__(self, console: Console, *, language: str = "en") -> None:
        self._console = console
        self._words = labels(language)
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._replied: set[object] = set()
        self._begun = False

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        text = str(data.get("text") or "")
        match event:
            case "turn.partial":
                if self._live is not None:
                    self._live.update(self._row(data, "caller", text + " …", "dim italic"), refresh=True)
            case "turn.final":
                self._print(self._row(data, "caller", text, "bright_cyan"))
            case "reply.text":
                self._replied.add(data.get("turn"))
                self._print(self._row(data, "agent", text, ""))
            case "reply.heard":
                cut = bool(data.get("cut"))
                if data.get("turn") not in self._replied:
                    self._print(self._row(data, "agent", text, ""))
                if cut:
                    self._print(self._row(data, "agent", f"✂ {text}", "red"))
            case "engine":
                note = f"{data.get('before')} → {data.get('after')} ({data.get('reason')})"
                self._print(self._row(data, "engine", note, "yellow"))
            case "turn.latency":
                if (ms := data.get("response_ms")) is not None:
                    self._print(self._row(data, "answered", f"{ms} ms", "dim"))
            case "resync" if self._begun:  # before anything else it only says that there is no earlier event
                self._print(self._row(data, "missed", self._words["resync"], "yellow"))
            case _:
                pass  # the report tells the rest
        self._begun = True

    def _row(self, data: Mapping[str, Any], who: str, text: str, style: str) -> RenderableType:
        at = data.get("at_ms")
        when = f"{at / 1000:.1f}" if isinstance(at, int) else ""
        speaker = self._words[who]
        if not self._console.is_terminal:
            return Text(f"{when:>7}  {speaker}: {text}")
        grid = Table.grid(padding=(0, 1))
        grid.add_column(justify="right", style="dim", width=6)
        grid.add_column(width=max(8, len(speaker)), no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_row(when, Text(isolate(speaker), style=f"bold {style}"), Bidi(text, style))
        return grid

    def _print(self, row: RenderableType) -> None:
        if self._live is not None:
            self._live.update(Text(""))
        self._console.print(row, soft_wrap=not self._console.is_terminal)
