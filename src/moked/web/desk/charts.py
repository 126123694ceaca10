"""Geometry of charts (pure): what is drawn where, in an SVG whose time runs from left to right as people here read it.

Numbers in, shapes out; a template draws them and says the same in a table. Y grows downwards, as in SVG.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 220
_LEFT: Final = 44  # for the scale
_RIGHT: Final = 8
_TOP: Final = 10
_BOTTOM: Final = 26  # for the labels
_MOST_LABELS: Final = 10
_STEPS: Final = (1, 2, 5, 10)
_FINE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the scale, and its number."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Label:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Line:
    """`path` is an SVG path with a gap where nothing was measured; `points` are (x, y, label, value)."""

    path: str
    points: Sequence[tuple[float, float, str, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """`bars` or `lines` over the same scale."""

    ticks: Sequence[Tick]
    labels: Sequence[Label]
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    base: int = HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True)
class Cell:
    """`shade` from 0 to 1."""

    x: int
    y: int
    shade: float
    value: int
    row: int
    column: int


def scale(highest: float, *, finest: float = 1) -> list[float]:
    """From 0 in even steps of a round size, a multiple of `finest`, to at least `highest`; two to six numbers."""
    wanted = max(highest / finest, 1)
    raw, size = wanted / 4, 1
    while size * 10 <= raw:
        size *= 10
    step = next(factor * size for factor in _STEPS if factor * size >= raw)
    count = math.ceil(round(wanted / step, 6))
    return [round(step * number * finest, 6) for number in range(count + 1)]


def columns(labels: Sequence[str], values: Sequence[float]) -> Chart:
    """A bar a label."""
    numbers = scale(max(values, default=0))
    room = (WIDTH - _LEFT - _RIGHT) / max(len(values), 1)
    width = max(room * 0.72, 0.5)
    bars = [
        Bar(
            round(_LEFT + room * at + (room - width) / 2, 2),
            round(_y(value, numbers[-1]), 2),
            round(width, 2),
            round(HEIGHT - _BOTTOM - _y(value, numbers[-1]), 2),
            label,
            value,
        )
        for at, (label, value) in enumerate(zip(labels, values, strict=True))
    ]
    return Chart(_ticks(numbers), _labels(labels, room), bars=bars)


def lines(labels: Sequence[str], series: Sequence[Sequence[float | None]]) -> Chart:
    """A line a series; None is a gap."""
    known = [value for values in series for value in values if value is not None]
    numbers = scale(max(known, default=0), finest=_FINE)
    room = (WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)
    drawn = []
    for values in series:
        path, points, pen = [], [], "M"
        for at, value in enumerate(values):
            if value is None:
                pen = "M"
                continue
            x, y = round(_LEFT + room * (at + 0.5), 2), round(_y(value, numbers[-1]), 2)
            path.append(f"{pen}{x} {y}")
            points.append((x, y, labels[at], value))
            pen = "L"
        drawn.append(Line("".join(path), points))
    return Chart(_ticks(numbers), _labels(labels, room), lines=drawn)


CELL: Final = 24
GAP: Final = 2


def heat(rows: Sequence[Sequence[int]]) -> list[Cell]:
    """A square a number; the darkest is the highest of all."""
    highest = max((value for row in rows for value in row), default=0)
    return [
        Cell(
            column * (CELL + GAP), row * (CELL + GAP), round(value / highest, 3) if highest else 0.0, value, row, column
        )
        for row, values in enumerate(rows)
        for column, value in enumerate(values)
    ]


def _y(value: float, highest: float) -> float:
    return HEIGHT - _BOTTOM - value / highest * (HEIGHT - _BOTTOM - _TOP)


def _ticks(numbers: Sequence[float]) -> list[Tick]:
    return [Tick(round(_y(value, numbers[-1]), 2), value) for value in numbers]


def _labels(labels: Sequence[str], room: float) -> list[Label]:
    """Not more than there is room for."""
    every = -(-len(labels) // _MOST_LABELS) if labels else 1
    return [Label(round(_LEFT + room * (at + 0.5), 2), text) for at, text in enumerate(labels) if at % every == 0]
