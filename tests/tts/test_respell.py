"""An owner's own pronunciations."""

import pytest

from moked.tts.hebrew import prepare
from moked.tts.respell import respelling

say = respelling((("בוילר", "בּוֹיְלֶר"), ("דוד", "דּוּד"), ("דוד שמש", "דּוּד שֶׁמֶשׁ"), ("C4", "סי פור"), ("", "x")))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("החלפת בוילר.", "החלפת בּוֹיְלֶר."),
        ("לבוילר, והבוילר", "לבּוֹיְלֶר, והבּוֹיְלֶר"),
        ("דוד שמש ודוד", "דּוּד שֶׁמֶשׁ ודּוּד"),
        ("דודה של דודו", "דודה של דודו"),
        ("בּוֹיְלֶר", "בּוֹיְלֶר"),
        ("מנוע C4", "מנוע סי פור"),
        ("", ""),
    ],
)
def test_whole_words_also_with_what_is_joined_to_them(written, said):
    assert say(written) == said


def test_without_words_nothing_changes():
    assert respelling(())("בוילר") == "בוילר"


def test_what_is_said_survives_the_preparation_of_the_text():
    assert prepare(say("הבוילר מגיע ב-14:30.")) == "הבּוֹיְלֶר מגיע בשתיים וחצי אחר הצהריים."
