"""Names of places as lists to look up (pure): exact, by sound, and with one letter wrong.

The lists are data of the package, read once, when an agent's house is made, so that no call waits for them. A name is
looked up as words; Hebrew writes "in", "from" and "to" onto the first of them (בחיפה, מראשון לציון), and recognisers
write two words as one or one as two.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from moked.dialog.numbers import NUMBER_WORDS
from moked.dialog.words import fold, words

_PREFIXES: Final = "במלושהכ"
_LEAST_SOUND: Final = 3  # letters; less says too little to go by sound
_LEAST_FUZZY: Final = 5
_MOST_WORDS: Final = 4
_EXACT, _BY_SOUND, _NEAR = 1.0, 0.9, 0.75


@dataclass(frozen=True, slots=True)
class Place:
    """A name that was found: `start` and `end` are words, `rank` its place in the list, `sure` 0..1."""

    name: str
    start: int
    end: int
    rank: int
    sure: float


class Names:
    """One list of names with their other spellings."""

    def __init__(self, file: str) -> None:
        self._exact: dict[tuple[str, ...], int] = {}
        self._sounds: dict[str, int] = {}
        self._near: dict[str, set[tuple[str, int]]] = {}
        self.names: list[str] = []
        self.smaller = 0  # names from this rank on are of small places
        text = files("moked.dialog").joinpath("data", file).read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.startswith("-"):
                self.smaller = len(self.names)
            elif line and not line.startswith("#"):
                self._add([name.strip() for name in line.split("|")])

    def _add(self, names: list[str]) -> None:
        rank = len(self.names)
        self.names.append(names[0])
        for name in names:
            said = words(name)
            self._exact.setdefault(said, rank)
            sound = fold("".join(said))
            if len(sound) >= _LEAST_SOUND:
                self._sounds.setdefault(sound, rank)
            if len(sound) >= _LEAST_FUZZY:
                for part in (sound, *_without_one(sound)):
                    self._near.setdefault(part, set()).add((sound, rank))

    def find(self, said: tuple[str, ...], *, asked: bool) -> tuple[Place, ...]:
        """Every name in `said`, longest first at each word. Not `asked`, only as it is spelled."""
        found, at = [], 0
        while at < len(said):
            place = self.at(said, at, asked=asked)
            if place:
                found.append(place)
            at = place.end if place else at + 1
        return tuple(found)

    def at(self, said: tuple[str, ...], at: int, *, asked: bool) -> Place | None:
        """The longest name that begins at word `at`, with or without a prefix."""
        for size in range(min(_MOST_WORDS, len(said) - at), 0, -1):
            match = self._match(said[at : at + size], asked)
            if match:
                return Place(self.names[match[0]], at, at + size, *match)
        return None

    @lru_cache(maxsize=4096)  # noqa: B019  # two lists that live as long as the process
    def _match(self, said: tuple[str, ...], asked: bool) -> tuple[int, float] | None:
        for first in _bare(said[0]):
            rank = self._exact.get((first, *said[1:]))
            if rank is not None:
                return rank, _EXACT
        if not asked or not all(word.isalpha() and word not in NUMBER_WORDS for word in said):
            return None  # a house number is no part of a misspelled name
        for first in _bare(said[0]):
            rank = self._sounds.get(fold(first + "".join(said[1:])))
            if rank is not None:
                return rank, _BY_SOUND
        for first in _bare(said[0]):
            sound = fold(first + "".join(said[1:]))
            if len(sound) < _LEAST_FUZZY:
                continue
            near = {found for part in (sound, *_without_one(sound)) for found in self._near.get(part, ())}
            ranks = [rank for known, rank in near if _one_apart(sound, known)]
            if ranks:
                return min(ranks), _NEAR  # the larger place
        return None


def _bare(word: str) -> Iterator[str]:
    """The word, and without one or two prefixes."""
    yield word
    if len(word) > 2 and word[0] in _PREFIXES:
        yield word[1:]
        if len(word) > 3 and word[0] in "ושה" and word[1] in "במל":
            yield word[2:]


def _one_apart(a: str, b: str) -> bool:
    """Whether one letter is wrong, missing or too many."""
    if len(a) == len(b):
        return sum(x != y for x, y in zip(a, b, strict=True)) <= 1
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return len(longer) - len(shorter) == 1 and shorter in _without_one(longer)


def _without_one(sound: str) -> Iterator[str]:
    for at in range(len(sound)):
        yield sound[:at] + sound[at + 1 :]


@cache
def localities() -> Names:
    """The towns and villages of Israel."""
    return Names("localities.txt")


@cache
def streets() -> Names:
    """The commonest street names."""
    return Names("streets.txt")
