"""What an owner has published for the agent, as three texts that are read and checked together.

    profile   YAML: the business (`business`)           script   YAML: the scripted agent's words (`scriptfile`)
    prompt    the language model's, with {facts} and {name} where they belong

A text stands for itself whether it came from a file or from a page; what cannot be read is never published.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Final

from moked.dialog.business import Business, gendered, parse_business, profile_text
from moked.dialog.scriptfile import Script, parse_script, script_text
from moked.errors import ProfileError

LONGEST_PROMPT: Final = 20_000
_VARIABLE: Final = re.compile(r"\{([a-z_]+)\}")
_KNOWN: Final = ("name", "facts")
_IN_WRITING: Final = "השיחה הזאת בכתב ולא בטלפון. מה שנאמר למעלה על דיבור בקול לא חל כאן, ובמקומו:"


class Part(StrEnum):
    """One of the three texts."""

    PROFILE = "profile"
    SCRIPT = "script"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class AgentTexts:
    profile: str
    script: str
    prompt: str

    def of(self, part: Part) -> str:
        match part:
            case Part.PROFILE:
                return self.profile
            case Part.SCRIPT:
                return self.script
            case Part.PROMPT:
                return self.prompt

    def with_part(self, part: Part, text: str) -> "AgentTexts":
        """The same with another text for one part; line ends as on Unix."""
        return replace(self, **{part.value: text.replace("\r\n", "\n").replace("\r", "\n")})


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """The texts, read: what agents are made from."""

    business: Business
    script: Script
    prompt: str


def read_agent(texts: AgentTexts) -> AgentPlan:
    """Raises `ProfileError` naming the place in the text that is wrong, and what is right."""
    business = parse_business(texts.profile)
    script = parse_script(texts.script, business.voice_gender, business.name)
    check_prompt(texts.prompt)
    return AgentPlan(business, script, texts.prompt)


def files_of(profile: Path | None, script: Path | None) -> AgentTexts:
    """What is in the owner's files, or packaged. Raises `ProfileError`."""
    return AgentTexts(profile_text(profile), script_text(script), packaged_prompt())


def packaged_prompt() -> str:
    return files("moked.dialog.prompts").joinpath("phone.he.md").read_text(encoding="utf-8")


def written_prompt(prompt: str) -> str:
    """What the model is told for conversations in writing: the packaged text, or the owner's own with the rules of
    writing behind it."""
    packaged = files("moked.dialog.prompts").joinpath("text.he.md").read_text(encoding="utf-8")
    if not prompt or prompt == packaged_prompt():
        return packaged
    rules, _, _ = packaged.partition("\n\nעל העסק:")
    return f"{prompt}\n\n{_IN_WRITING}\n{rules}"


def check_prompt(text: str) -> None:
    """Raises `ProfileError`. A prompt without {facts} would make an agent that knows nothing of its business."""
    if not text.strip():
        raise ProfileError("prompt: is empty", "empty")
    if len(text) > LONGEST_PROMPT:
        raise ProfileError(f"prompt: longer than {LONGEST_PROMPT} letters", "too_long")
    if "{facts}" not in text:
        raise ProfileError("prompt: {facts} is missing: where the business's facts are put", "no_facts")
    for number, line in enumerate(text.splitlines(), 1):
        for name in _VARIABLE.findall(line):
            if name not in _KNOWN:
                possible = ", ".join("{" + known + "}" for known in _KNOWN)
                told = f"prompt, line {number}: {{{name}}} is not known; possible: {possible}"
                raise ProfileError(told, "variable", line=number, value=f"{{{name}}}", options=possible)


def system_prompt(business: Business, template: str = "") -> str:
    """The fixed prompt: persona, rules and the business's facts, in the gender of its voice."""
    text = gendered(template or packaged_prompt(), business.voice_gender)
    return text.replace("{name}", business.name).replace("{facts}", business.facts_text())
