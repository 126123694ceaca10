"""Every line that a change writes into the history is told in the page's language."""

import pytest

from moked.rollout.requests import read_number, read_share
from moked.web.desk import words
from moked.web.desk.hearing_words import read


@pytest.mark.parametrize(
    ("fields", "key", "values"),
    [
        ({"streaming": "on"}, "all_on", {}),
        ({"streaming": "off", "for": "2h"}, "all_off", {"lasting": "2h"}),
        ({"streaming": "on", "percent": "20", "for": "7d"}, "share_on", {"percent": "20", "lasting": "7d"}),
        ({"streaming": "off", "percent": "5"}, "share_off", {"percent": "5"}),
        ({"streaming": "on", "number": "050-2345678"}, "number_on", {"number": "+972502345678"}),
        ({"streaming": "off", "number": "*2700", "for": "30m"}, "number_off", {"number": "*2700", "lasting": "30m"}),
        ({"rollback": "true"}, "rolled_back", {}),
        ({"shadow": "10"}, "shadow_on", {"percent": "10"}),
        ({"shadow": "0"}, "shadow_off", {}),
    ],
)
def test_what_a_person_asked_for_is_read_back(fields, key, values):
    assert read(read_share(fields, now=0).what) == (key, values)
    for language in words.LANGUAGES:
        assert words.say(language, f"hearing.what.{key}", **values)


def test_the_others():
    assert read(read_number("050-2345678").what) == ("cleared", {"number": "+972502345678"})
    assert read("streaming stays on") == ("stays", {})
    assert read("something new") == ("", {})
