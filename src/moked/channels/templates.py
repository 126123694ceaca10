"""Templates: messages that a carrier has approved, for who wrote to us too long ago to be answered freely.

They are listed in a file (`WHATSAPP_TEMPLATES`), each with the very words that were approved, because neither Meta nor
Twilio says them when they send one, and what we sent is on record. Their places, {{1}} and so on, are filled by whoever
sends one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from moked.channels import Template
from moked.dialog.ownerfile import Place, read

FILLS: Final = ("name", "business", "need", "time", "person")
"""What a place can be filled with beforehand: who they are; us; what they need and when, of their lead; who writes."""

LONGEST: Final = 1024
"""Letters of a whole message, as Meta has it."""

_PLACE: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?")
_FIELDS: Final = ("name", "title", "text", "places", "language")


class WrongValues(ValueError):
    """What was filled in cannot be sent: something is missing, or it is too long."""


@dataclass(frozen=True, slots=True)
class Blank:
    """One place of a template. `fill`: one of `FILLS`, or ''."""

    label: str
    fill: str = ""


@dataclass(frozen=True, slots=True)
class Approved:
    """`name`: at Meta, or the ContentSid at Twilio. `title`: what people choose it by."""

    name: str
    title: str
    text: str
    places: tuple[Blank, ...] = ()
    language: str = "he"

    def filled(self, values: Sequence[str]) -> tuple[Template, str]:
        """As it is sent, and what it says. Raises `WrongValues`."""
        clean = tuple(" ".join("".join(c if c.isprintable() else " " for c in one).split()) for one in values)
        if len(clean) != len(self.places) or not all(clean):
            raise WrongValues
        said = _PLACE.sub(lambda found: clean[int(found[1]) - 1], self.text)
        if len(said) > LONGEST:
            raise WrongValues
        return Template(self.name, self.language, clean), said

    def beforehand(self, known: Mapping[str, str]) -> tuple[str, ...]:
        """What its places say before anybody fills them. `known` by `FILLS`."""
        return tuple(known.get(place.fill, "") for place in self.places)


def read_templates(path: Path) -> tuple[Approved, ...]:
    """Those of a file, in its order. Raises `ProfileError` with the line and what is right."""
    found: dict[str, Approved] = {}
    for item in read(path).table(("templates",), ("templates",))["templates"].items():
        made = _template(item)
        if made.name in found:
            item.fail(f"the template {made.name!r} is listed twice", "twice")
        found[made.name] = made
    return tuple(found.values())


def _template(item: Place) -> Approved:
    fields = item.table(_FIELDS, ("name", "title", "text"))
    name, language, text = fields["name"].text(), "he", fields["text"].lines()
    if not _NAME.fullmatch(name):
        fields["name"].fail("the template's name at Meta, or its ContentSid at Twilio, is needed", "template_name")
    if "language" in fields and not _LANGUAGE.fullmatch(language := fields["language"].text()):
        fields["language"].fail("a language is needed as the carrier writes it, such as he or en_US", "language")
    places = tuple(map(_blank, fields["places"].items())) if "places" in fields else ()
    numbers = _PLACE.findall(text)
    if set(numbers) != {str(number) for number in range(1, len(places) + 1)}:
        right = ", ".join(f"{{{{{number}}}}}" for number in range(1, len(places) + 1)) or "no place"
        fields["text"].fail(f"its places must be those that are listed under places: {right}", "template_places")
    if len(text) > LONGEST:
        fields["text"].fail(f"longer than {LONGEST} letters; no carrier approves such a template", "too_long")
    return Approved(name, fields["title"].text(), text, places, language)


def _blank(item: Place) -> Blank:
    if not item.is_table:
        return Blank(item.text())
    fields = item.table(("label", "fill"), ("label",))
    return Blank(fields["label"].text(), fields["fill"].one_of(FILLS) if "fill" in fields else "")
