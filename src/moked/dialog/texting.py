"""The agent in writing: the one that answers the phone, asked for a whole answer at once.

    words of theirs -> CallerTurn -> Agent.reply -> Written: what to send, and whether they want a person

There is no speculation: what is written is meant, so a reply is committed before it is read. A first message is
answered with the greeting (it says who, and what, is writing) and then to the point.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from moked.dialog import Agent, CallerTurn, EndCall, Entry, Reply, Say, Transfer
from moked.records import LeadDraft

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
_HELLO: Final = re.compile(
    r"(היי+|הי|שלום|אהלן|הלו|בוקר טוב|צהריים טובים|ערב טוב|שבוע טוב|שבת שלום|מה נשמע|מה שלומכם|hi|hello)",
    re.IGNORECASE,
)
_PARTS: Final = re.compile(r"[^\w ]+")  # marks, lines, faces
_SPACES: Final = re.compile(r" {2,}")
_IN_WRITING: Final = (
    ("העוזר הקולי", "העוזר הדיגיטלי"),
    ("העוזרת הקולית", "העוזרת הדיגיטלית"),
    ("שממנו התקשרתם", "שממנו כתבתם"),
    ("לא שמעתי", "לא הבנתי"),
)
_LINK: Final = re.compile(
    r"https?://|www\.|[\w.+-]+@[\w-]+\.\w|\b[\w-]+\.(?:com|net|org|co\.il|org\.il|gov\.il)\b", re.IGNORECASE
)
_BULLET: Final = re.compile(r"^\s*(?:[-*•–]|\d{1,2}[.)])\s+")
_HEBREW: Final = re.compile(r"[א-ת]")
_LONGEST_ALOUD: Final = 700  # letters: most of a minute
VOICE_MARK: Final = "[הודעה קולית]"
FILE_MARK: Final = "[קובץ]"


@dataclass(frozen=True, slots=True)
class Written:
    """`texts` in order; `person`: they are to be answered by one. `agent` and `lead` are where the agent stands."""

    texts: tuple[str, ...]
    person: bool
    over: bool
    agent: Any
    lead: LeadDraft


async def write(agent: Agent, number: int, words: str, history: Sequence[Entry], *, first: bool) -> Written:
    """Answer `words`, turn `number` of this talk. `first`: nothing was answered before. Raises `ProviderError`."""
    opening = ""
    if first:
        opening, _, _ = await _said(agent.greet())
        if is_hello(words):
            return Written((opening,), False, False, agent.keep(), agent.lead())
        opening = without_question(opening)
    said, person, over = await _said(agent.reply(CallerTurn(number, words), history))
    whole = "\n".join(filter(None, (opening, said)))
    return Written((whole,) if whole else (), person, over, agent.keep(), agent.lead())


async def _said(reply: Reply) -> tuple[str, bool, bool]:
    text, person, over = "", False, False
    reply.commit()
    async with reply.actions() as actions:
        async for action in actions:
            match action:
                case Say(text=more):
                    text += more if not text or text[-1].isspace() or more[:1].isspace() else _joined(text, more)
                case Transfer():
                    person = True
                case EndCall():
                    over = True
    return text.strip(), person, over


def _joined(before: str, more: str) -> str:
    """Whole sentences of a script get a space between them; pieces of a model's words are joined as they are."""
    return f" {more}" if before[-1] in ".!?" and more[:1].isalpha() else more


def is_hello(words: str) -> bool:
    """Nothing but a greeting: there is nothing to answer yet."""
    parts = [part.strip() for part in _PARTS.split(words) if part.strip()]
    return all(_HELLO.fullmatch(part) for part in parts)


def without_question(greeting: str) -> str:
    """The greeting without the question at its end, which they have answered already."""
    sentences = _SENTENCE.split(greeting.strip())
    while len(sentences) > 1 and sentences[-1].endswith("?"):
        sentences.pop()
    return " ".join(sentences)


def in_writing(text: str, unsaid: Sequence[str] = ()) -> str:
    """What an agent of the telephone says, as it is put in a message."""
    for sentence in filter(None, unsaid):
        text = text.replace(sentence, "")
    for spoken, written in _IN_WRITING:
        text = text.replace(spoken, written)
    return "\n".join(_SPACES.sub(" ", line).strip() for line in text.splitlines()).strip()


def pieces(text: str, longest: int) -> list[str]:
    """`text` in messages of at most `longest` letters, parted at lines, else at sentences, else at words."""
    left, found = text.strip(), []
    while len(left) > longest:
        cut = max((left.rfind(mark, 1, longest) + len(mark) - 1 for mark in ("\n", ". ", "? ", "! ")), default=0)
        if cut < longest // 2:
            cut = max(left.rfind(" ", 1, longest + 1), 0) or longest
        found.append(left[:cut].strip())
        left = left[cut:].strip()
    return [*found, left] if left else found


def aloud(text: str) -> str:
    """A message as it is said in a voice note: its lines as sentences. '' for what is to be read: a link or an address
    of mail, something long, or not in Hebrew."""
    if len(text) > _LONGEST_ALOUD or not _HEBREW.search(text) or _LINK.search(text):
        return ""
    lines = [_BULLET.sub("", line).strip() for line in text.splitlines()]
    return " ".join(line if line[-1] in ".!?…,:;" else f"{line}." for line in lines if line)
