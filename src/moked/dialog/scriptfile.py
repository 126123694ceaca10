"""The scripted agent's words: steps and sentences from a YAML file (its top explains it to owners), checked and cut.

A sentence without a variable is one fixed piece, spoken from the cache. A sentence with one is cut at its commas, so
that what is fixed in it is cached too and only a short part ("דני.") has to be made.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import as_file, files
from itertools import zip_longest
from pathlib import Path
from typing import Final

from moked.dialog.business import Gender, gendered
from moked.dialog.ownerfile import Place, parse, text_of

_SENTENCE: Final = re.compile(r"[^.!?]+[.!?]+|[^.!?]+$")
_CLAUSE: Final = re.compile(r"[^,:;]+[,:;]|[^,:;]+$")
_VARIABLE: Final = re.compile(r"\{(\w+)\}")
VARIABLES: Final = ("name", "need", "time", "phone", "value", "business", "address", "first", "second")


class Slot(StrEnum):
    """What a step asks for."""

    NEED = "need"
    NAME = "name"
    PHONE = "phone"
    TIME = "time"
    TEXT = "text"
    CHOICE = "choice"
    ID = "id"
    ADDRESS = "address"
    PLATE = "plate"
    DATE = "date"
    NUMBER = "number"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Line:
    """One text of the script as pieces; a piece has a variable or is fixed."""

    pieces: tuple[str, ...]

    def render(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """The pieces with `values` in place. One whose value is empty is left out, and the sentence still ends well."""
        out: list[str] = []
        for piece in self.pieces:
            names = _VARIABLE.findall(piece)
            if all(values.get(name) for name in names):
                out.append(_VARIABLE.sub(lambda found: values[found[1]], piece))
            elif out and out[-1][-1] in ",:;" and piece[-1] in ".!?":
                out[-1] = out[-1][:-1] + piece[-1]
        return tuple(out)

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(name for piece in self.pieces for name in _VARIABLE.findall(piece))

    def fixed(self) -> Iterator[str]:
        """Every fixed piece this line can say, in both forms where the part after it may be left out."""
        for piece, after in zip_longest(self.pieces, self.pieces[1:], fillvalue=""):
            if not _VARIABLE.search(piece):
                yield piece
                if piece[-1] in ",:;" and _VARIABLE.search(after) and after[-1] in ".!?":
                    yield piece[:-1] + after[-1]


@dataclass(frozen=True, slots=True)
class Step:
    """One question. Lines that a step does not use are empty."""

    slot: Slot
    id: str
    say: Line
    again: tuple[Line, ...]
    tries: int
    lines: Mapping[str, Line] = field(default_factory=dict)

    def line(self, key: str) -> Line:
        return self.lines.get(key, _NOTHING)


@dataclass(frozen=True, slots=True)
class Script:
    """`spare` are steps that nobody asks, for their words: an owner's step of that kind takes what it leaves out."""

    steps: tuple[Step, ...]
    lines: Mapping[str, Line]
    silence: tuple[Line, ...]
    spare: tuple[Step, ...] = ()

    def line(self, key: str) -> Line:
        return self.lines[key]

    def index(self, slot: Slot) -> int | None:
        """Which step asks for `slot`."""
        return next((i for i, step in enumerate(self.steps) if step.slot is slot), None)


_NOTHING: Final = Line(())
_DETAILS: Final = frozenset({Slot.ID, Slot.ADDRESS, Slot.PLATE, Slot.DATE, Slot.NUMBER})
_OWN: Final = _DETAILS | {Slot.TEXT, Slot.CHOICE}
_DICTATED: Final = frozenset({Slot.PHONE, Slot.ID, Slot.PLATE})
_READ_BACK: Final = _DETAILS | {Slot.PHONE}
# The lines that only some steps use, and which.
_LINES_OF: Final[Mapping[str, frozenset[Slot]]] = {
    "offer": frozenset({Slot.PHONE}),
    "confirm": _READ_BACK,
    "slowly": _DICTATED,
    "more": _DICTATED,
    "city": frozenset({Slot.ADDRESS}),
    "street": frozenset({Slot.ADDRESS}),
    "house": frozenset({Slot.ADDRESS}),
    "keyed": _READ_BACK - {Slot.ADDRESS},
    "wrong": _READ_BACK,
    "invalid": frozenset({Slot.ID, Slot.PLATE}),
    "keys": _READ_BACK - {Slot.ADDRESS},
}
_STEP_LINES: Final[tuple[str, ...]] = ("why", "thanks", *_LINES_OF, "fix")
_STEP_FIELDS: Final = ("asks", "id", "say", "again", "tries", *_STEP_LINES)
_TAKEN: Final = frozenset(slot.value for slot in Slot if slot not in _OWN)
_USUAL_TRIES: Final = 3


def load_script(path: Path | None, gender: Gender, business: str) -> Script:
    """The script in `path` over the packaged one. Raises `ProfileError` naming the step and what is right."""
    return parse_script(script_text(path), gender, business, str(path or "script.yaml"))


def script_text(path: Path | None = None) -> str:
    """What is written in `path`, or in the packaged script."""
    if path is not None:
        return text_of(Path(path))
    with as_file(files("moked.dialog").joinpath("defaults", "script.yaml")) as packaged:
        return text_of(packaged)


def parse_script(text: str, gender: Gender, business: str, name: str = "script") -> Script:
    """The script written in `text` over the packaged one. Raises `ProfileError` naming the step and what is right."""
    packaged = script_text()
    usual = _Reader(gender, business, None).script(parse(packaged, "script.yaml"))
    return usual if text == packaged else _Reader(gender, business, usual).script(parse(text, name))


class _Reader:
    """`usual` is the packaged script, from which a file takes what it leaves out; None while reading that one."""

    def __init__(self, gender: Gender, business: str, usual: Script | None) -> None:
        self._gender = gender
        self._business = business
        self._usual = usual

    def script(self, root: Place) -> Script:
        fields = root.table(("steps", "spare", "lines"))
        usual = self._usual
        spare = tuple(self._step(item, spare=True) for item in fields["spare"].items()) if "spare" in fields else ()
        steps = tuple(self._step(item) for item in fields["steps"].items()) if "steps" in fields else ()
        if not steps:
            if usual is None or "steps" in fields:
                fields.get("steps", root).fail("at least one step is needed under 'steps'", "no_steps")
            steps = usual.steps
        self._check_order(steps, fields.get("steps", root))
        known = (*usual.lines, "silence") if usual else None
        given = fields["lines"].table(known) if "lines" in fields else {}
        silence = tuple(self._line(item) for item in given["silence"].items()) if "silence" in given else ()
        lines = {key: self._line(place) for key, place in given.items() if key != "silence"}
        if usual is None:
            return Script(steps, lines, silence, spare)
        return Script(steps, {**usual.lines, **lines}, silence or usual.silence, usual.spare)

    def _check_order(self, steps: tuple[Step, ...], place: Place) -> None:
        seen: set[str] = set()
        for number, step in enumerate(steps, 1):
            if step.id in seen:
                place.fail(f"step {number} asks for {step.id!r} a second time", "step_twice", number=number, id=step.id)
            seen.add(step.id)
            if step.slot is Slot.SUMMARY and number < len(steps):
                place.fail(f"step {number}: the summary has to be the last step", "summary_last", number=number)

    def _step(self, place: Place, *, spare: bool = False) -> Step:
        fields = place.table(_STEP_FIELDS, required=("asks",))
        slot = Slot(fields["asks"].one_of(tuple(Slot)))
        own = slot in _OWN and not spare
        if own and "id" not in fields:
            place.fail(f"a {slot.value!r} step needs an 'id': the name of the field in the lead", "id", slot=slot.value)
        if "id" in fields and not own:
            kinds = ", ".join(repr(kind.value) for kind in Slot if kind in _OWN)
            fields["id"].fail(f"only steps of your own have an id: {kinds}", "no_id", kinds=kinds)
        usual = self._usual_step(slot)
        if "say" not in fields and usual is None:
            place.fail("the field 'say' is missing: the question of this step", "say")
        for key, slots in _LINES_OF.items():
            if key in fields and slot not in slots:
                only = " or ".join(repr(other.value) for other in Slot if other in slots)
                fields[key].fail(f"only a {only} step has this field", "only_step", only=only)
        lines = {key: self._line(fields[key]) for key in _STEP_LINES if key in fields}
        said_back = "phone" if slot is Slot.PHONE else "value"
        for key in {"confirm", "slowly"} & lines.keys():
            if said_back not in lines[key].variables:
                what = "the number" if slot in _DICTATED else "the answer"
                told = f"has to read {what} back: put {{{said_back}}} into it"
                fields[key].fail(told, "read_back", variable=f"{{{said_back}}}")
        again = tuple(self._line(item) for item in fields["again"].items()) if "again" in fields else ()
        if usual:
            lines = {**usual.lines, **lines}
        say = self._line(fields["say"]) if "say" in fields else usual.say if usual else _NOTHING
        tries = fields["tries"].number(1, 5) if "tries" in fields else usual.tries if usual else _USUAL_TRIES
        again = again or (usual.again if usual and "say" not in fields else ()) or (say,)
        if own and fields["id"].text() in _TAKEN:
            fields["id"].fail("this name is taken by a step of the script", "id_taken")
        return Step(slot, fields["id"].text() if own else slot.value, say, again, tries, lines)

    def _usual_step(self, slot: Slot) -> Step | None:
        steps = (*self._usual.steps, *self._usual.spare) if self._usual else ()
        return next((step for step in steps if step.slot is slot), None)

    def _line(self, place: Place) -> Line:
        text = gendered(place.text(), self._gender).replace("{business}", self._business)
        for name in _VARIABLE.findall(text):
            if name not in VARIABLES:
                possible = ", ".join("{" + known + "}" for known in VARIABLES)
                place.fail(
                    f"{{{name}}} is not known; possible: {possible}",
                    "variable",
                    value=f"{{{name}}}",
                    options=possible,
                )
        rest = _VARIABLE.sub("", text)
        if "{" in rest or "}" in rest:
            place.fail("a { or } is left over; write {name}, or {זכר|נקבה} for both voices", "brace")
        if not text:
            place.fail("a sentence is needed here", "sentence")
        if text[-1] not in ".!?":
            place.fail("a sentence ends with a full stop, a question mark or an exclamation mark", "sentence_end")
        return Line(tuple(_pieces(text)))


def _pieces(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.findall(text):
        if not _VARIABLE.search(sentence):
            yield sentence.strip()
            continue
        kept = ""
        for clause in _CLAUSE.findall(sentence):
            if _VARIABLE.search(clause):
                if kept:
                    yield kept.strip()
                kept = ""
                yield clause.strip()
            else:
                kept += clause
        if kept:
            yield kept.strip()
