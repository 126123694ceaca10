"""A simulated call told afterwards: the conversation, the latencies, the lead, and what went wrong.

Functions of a `CallResult` (whose `report` is the server's JSON) to rich renderables, to plain text for pipes and logs,
and to a dictionary for `--json`. Nothing here measures or decides.

    server's waterfall of a turn, from the caller's last sound: turn end | agent's text | voice | sending
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from moked.simulate.bidi import Bidi, isolate
from moked.simulate.labels import Labels, labels
from moked.simulate.measure import TurnResult
from moked.simulate.result import CallResult
from moked.simulate.twiml import Experienced

BAR_WIDTH: Final = 40
BUSY_MS: Final = 40
"""Frames later than this make the measured figures doubtful."""

_STAGES: Final = (
    ("turn_end", ("transcript_ms", "endpoint_ms"), "█", "cyan"),
    ("agent", ("llm_first_ms",), "▓", "magenta"),
    ("voice", ("tts_first_ms",), "▒", "yellow"),
    ("sending", ("sent_ms",), "░", "green"),
)  # name, the moments that end it, its pattern (there may be no colours), its colour


# ---- figures


@dataclass(frozen=True, slots=True)
class Bar:
    """One turn's waterfall: what each stage added, in ms, in order. `total_ms` is up to the first frame sent."""

    turn: int
    stages: tuple[tuple[str, int], ...]

    @property
    def total_ms(self) -> int:
        return sum(ms for _, ms in self.stages)


def waterfall(report: Mapping[str, Any] | None) -> tuple[Bar, ...]:
    """The server's turns as stacked stages. A stage that began early (speculation) adds only what it took longer."""
    bars = []
    for turn in (report or {}).get("turns", ()):
        moments = turn.get("waterfall") or {}
        reached = moments.get("speech_end_ms")
        if reached is None or moments.get("sent_ms") is None:
            continue
        stages = []
        for name, keys, _, _ in _STAGES:
            at = max([moments[key] for key in keys if moments.get(key) is not None], default=reached)
            if name != "sending":
                at = min(at, moments["sent_ms"])  # what came after the first frame did not delay it
            stages.append((name, max(0, at - reached)))
            reached = max(reached, at)
        bars.append(Bar(turn["number"], tuple(stages)))
    return tuple(bars)


def figures(result: CallResult) -> dict[str, dict[str, float] | None]:
    """Median and worst of what the caller waited, ms; None where nothing was measured."""
    return {
        "response_ms": _spread(turn.response_ms for turn in result.turns),
        "heard_after_ms": _spread(turn.heard_after_ms for turn in result.turns),
        "barge_in_ms": _spread(turn.barge_in_ms for turn in result.turns),
    }


def _spread(values: Iterable[int | None]) -> dict[str, float] | None:
    measured = sorted(value for value in values if value is not None)
    if not measured:
        return None
    return {"count": len(measured), "median": statistics.median(measured), "max": measured[-1]}


def as_dict(result: CallResult) -> dict[str, Any]:
    """Everything but the audio, ready for JSON."""
    return {
        "call_sid": result.call_sid,
        "ended": result.ended.value,
        "detail": result.detail,
        "duration_ms": result.duration_ms,
        "greeting_ms": result.greeting_ms,
        "greeting_heard_ms": result.greeting_heard_ms,
        "figures": figures(result),
        "turns": [
            {
                **asdict(turn),
                "response_ms": turn.response_ms,
                "heard_after_ms": turn.heard_after_ms,
                "barge_in_ms": turn.barge_in_ms,
            }
            for turn in result.turns
        ],
        "streams": [asdict(stream) for stream in result.streams],
        "twiml": [asdict(item) for item in result.twiml],
        "marks": [asdict(mark) for mark in result.marks],
        "warnings": [asdict(warning) for warning in result.warnings],
        "refused": dict(result.refused),
        "late_ms": result.late_ms,
        "report": result.report,
    }


# ---- after the call


def rich_report(result: CallResult, *, language: str = "en") -> RenderableType:
    """The whole story for a terminal. `language` of the labels: en, he."""
    words = labels(language)
    parts: list[RenderableType] = [_heading(result, words)]
    if turns := (result.report or {}).get("turns"):
        parts.append(_conversation(turns, words))
    if result.turns:
        parts.append(_measured(result, words))
    if bars := waterfall(result.report):
        parts.append(_bars(bars, words))
    parts.append(_lead(result.report, words))
    if result.after_stream:
        parts.append(_after(result.after_stream, words))
    if problems := _problems(result, words):
        parts.append(Panel(Group(*(Bidi(line) for line in problems)), title=words["warnings"], border_style="yellow"))
    return Group(*parts)


def _heading(result: CallResult, words: Labels) -> Text:
    return Text(isolate(_summary(result, words)), style="bold")


def _conversation(turns: Sequence[Mapping[str, Any]], words: Labels) -> Table:
    table = Table(title=words["conversation"], title_justify="left", box=None, padding=(0, 1), show_header=False)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for who, at, text, cut in _lines(turns):
        style = "bright_cyan" if who == "caller" else ""
        speaker = Text(isolate(words[who]), style="bold " + style)
        table.add_row(_seconds(at), speaker, Bidi(text, style))
        if cut:
            table.add_row("", "", Bidi(f"✂ {words['cut']}", "red"))
    return table


def _lines(turns: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, str, bool]]:
    """(speaker, ms, text, cut) in order. What was not heard is not in it."""
    lines = []
    for turn in turns:
        said = turn.get("caller_text") or (f"[{turn['dtmf']}]" if turn.get("dtmf") else "")
        if said:
            lines.append(("caller", turn.get("started_ms") or 0, said, False))
        if turn.get("heard") or turn.get("cut"):
            at = (turn.get("waterfall") or {}).get("sent_ms") or turn.get("started_ms") or 0
            lines.append(("agent", at, turn.get("heard") or "…", bool(turn.get("cut"))))
    return lines


def _measured(result: CallResult, words: Labels) -> Table:
    table = Table(title=words["measured"], title_justify="left", box=None, padding=(0, 1))
    table.add_column("", justify="right", style="dim")
    table.add_column(words["line"], ratio=1)
    for name in ("received", "heard", "cleared"):
        table.add_column(words[name], justify="right", no_wrap=True)
    if result.greeting_ms is not None:
        table.add_row("0", words["greeting"], _ms(result.greeting_ms), _ms(result.greeting_heard_ms), "")
    for turn in result.turns:
        table.add_row(
            str(turn.number),
            Group(Bidi(_what(turn, words)), *(Bidi(note, "yellow") for note in _notes(turn, words))),
            _ms(turn.response_ms),
            _ms(turn.heard_after_ms),
            _ms(turn.barge_in_ms),
        )
    return table


def _bars(bars: Sequence[Bar], words: Labels) -> Table:
    longest = max(1, *(bar.total_ms for bar in bars))
    table = Table(title=words["waterfall"], title_justify="left", box=None, padding=(0, 1), show_header=False)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for bar in bars:
        drawn = Text()
        reached = columns = 0
        for (_, ms), (_, _, pattern, colour) in zip(bar.stages, _STAGES, strict=True):
            reached += ms
            upto = round(BAR_WIDTH * reached / longest)
            drawn.append(pattern * (upto - columns), style=colour)
            columns = upto
        added = " + ".join(str(ms) for _, ms in bar.stages)
        table.add_row(str(bar.turn), drawn, f"{added} = {bar.total_ms} ms")
    legend = Text("  ").join(
        Text.assemble((f"{pattern} ", colour), isolate(words[name])) for name, _, pattern, colour in _STAGES
    )
    table.add_row("", legend, "")
    return table


def _lead(report: Mapping[str, Any] | None, words: Labels) -> Panel:
    if report is None:
        return Panel(words["no_report"], title=words["lead"], border_style="red")
    lead = report.get("lead")
    if not lead:
        reason = report.get("lead_missing_reason") or "-"
        return Panel(Text(f"{words['no_lead']}: {reason}"), title=words["lead"], border_style="yellow")
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(ratio=1)
    for name, value in _lead_fields(lead, words):
        table.add_row(name, Bidi(value))
    return Panel(table, title=words["lead"], border_style="green")


def _lead_fields(lead: Mapping[str, Any], words: Labels) -> list[tuple[str, str]]:
    fields = [(words[key], str(lead.get(key) or "-")) for key in ("name", "phone", "need", "best_time", "summary")]
    extra = lead.get("extra") or {}
    return fields + [(str(key), str(value)) for key, value in extra.items()]


def _after(items: Sequence[Experienced], words: Labels) -> Panel:
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for item in items:
        table.add_row(words.get("verb_" + item.verb, item.verb), Bidi(item.text))
    return Panel(table, title=words["after"], border_style="blue")


def _experience(item: Experienced, words: Labels) -> str:
    return f"{words.get('verb_' + item.verb, item.verb)} {item.text}".strip()


def _problems(result: CallResult, words: Labels) -> list[str]:
    lines = []
    for warning in result.warnings:
        at = "" if warning.at_ms is None else f" @ {_seconds(warning.at_ms)} s"
        lines.append(f"{warning.code} {warning.reason}{at}: {warning.detail}")
    if result.refused:
        counts = ", ".join(f"{reason} x{count}" for reason, count in sorted(result.refused.items()))
        lines.append(f"{words['refused']}: {counts}")
    if result.late_ms > BUSY_MS:
        lines.append(f"{words['busy']} ({result.late_ms} ms)")
    return lines


# ---- plain


def plain_report(result: CallResult, *, language: str = "en") -> str:
    """The same story as lines of text, without colours, boxes and marks."""
    words = labels(language)
    lines = [_summary(result, words)]
    if turns := (result.report or {}).get("turns"):
        lines += ["", words["conversation"]]
        for who, at, text, cut in _lines(turns):
            lines.append(f"{_seconds(at):>7}  {words[who]}: {text}" + (f" [{words['cut']}]" if cut else ""))
    if result.turns:
        lines += ["", words["measured"]]
        lines += [
            f"{turn.number:>3}  {words['received']} {_ms(turn.response_ms)}, "
            f"{words['heard']} {_ms(turn.heard_after_ms)}"
            + (f", {words['cleared']} {_ms(turn.barge_in_ms)}" if turn.barge_in_ms is not None else "")
            + "  "
            + " ".join([_what(turn, words), *(f"({note})" for note in _notes(turn, words))])
            for turn in result.turns
        ]
    if bars := waterfall(result.report):
        lines += ["", words["waterfall"]]
        for bar in bars:
            stages = " + ".join(f"{words[name]} {ms}" for name, ms in bar.stages)
            lines.append(f"{bar.turn:>3}  {stages} = {bar.total_ms} ms")
    lines += ["", words["lead"]]
    lead = (result.report or {}).get("lead")
    if result.report is None:
        lines.append(words["no_report"])
    elif not lead:
        lines.append(f"{words['no_lead']}: {result.report.get('lead_missing_reason') or '-'}")
    else:
        lines += [f"  {name}: {value}" for name, value in _lead_fields(lead, words)]
    if result.after_stream:
        lines += ["", words["after"], *(f"  {_experience(item, words)}" for item in result.after_stream)]
    if problems := _problems(result, words):
        lines += ["", words["warnings"], *(f"  {line}" for line in problems)]
    return "\n".join(lines)


def _summary(result: CallResult, words: Labels) -> str:
    ended = words.get("ended_" + result.ended.value, result.ended.value)
    detail = f" ({result.detail})" if result.detail else ""
    greeting = "" if result.greeting_ms is None else f", {words['greeting']} {result.greeting_ms} ms"
    return f"{result.call_sid}: {ended}{detail}, {_seconds(result.duration_ms)} s{greeting}"


def _what(turn: TurnResult, words: Labels) -> str:
    return f"[{turn.text}]" if turn.kind == "dtmf" else turn.text or words["recording"]


def _notes(turn: TurnResult, words: Labels) -> list[str]:
    notes = []
    if turn.kind == "cut_in":
        notes.append(words["cut_in"] if turn.overlapped else words["too_late_to_cut_in"])
    if turn.talked_over:
        notes.append(words["talked_over"])
    if turn.took_back:
        notes.append(words["took_back"])
    return notes


def _ms(value: int | None) -> str:
    return "-" if value is None else f"{value} ms"


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f}"
