"""The desk's words: a folder a language, a JSON file a topic, the same keys in each language.

A missing key is an error, never a blank; so is a key that two files have.
"""

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
    found: dict[str, str] = {}
    folder = resources.files(__package__).joinpath(language)
    for topic in sorted(folder.iterdir(), key=lambda file: file.name):
        texts: dict[str, str] = json.loads(topic.read_text("utf-8"))
        if twice := found.keys() & texts.keys():
            raise ValueError(f"{topic.name}: another file has {', '.join(sorted(twice))} already")
        found |= texts
    return found


def say(language: str, key: str, **values: object) -> str:
    """The text of `key`, with {names} filled in."""
    text = catalogue(language)[key]
    return text.format(**values) if values else text
