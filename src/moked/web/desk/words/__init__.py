"""The desk's words: one JSON file a language, the same keys in each. A missing key is an error, never a blank."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources

LANGUAGES: Mapping[str, str] = {"he": "rtl", "en": "ltr"}
DEFAULT = "he"


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Key to text of a language; raises `KeyError` for one we do not have."""
    if language not in LANGUAGES:
        raise KeyError(language)
    text = resources.files(__package__).joinpath(f"{language}.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def say(language: str, key: str, **values: object) -> str:
    """The text of `key`, with {names} filled in."""
    text = catalogue(language)[key]
    return text.format(**values) if values else text
