"""A word heard whole is known exactly; a word heard in part is not heard."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.wordcodec import WORD_MS, WordDecoder, encode_word, encode_words, numbered, word_times

WORDS = ["שלום", "קוראים", "לי", "דנה", "אינסטלציה", "צריכה", "מספר", "054", "a", "באינסטלטור"]


def decode(audio: bytes, sizes: list[int]) -> list[tuple[int, int, str]]:
    decoder, heard, at = WordDecoder(), [], 0
    index = 0
    while at < len(audio):
        size = sizes[index % len(sizes)]
        heard += decoder.hear(audio[at : at + size])
        at += size
        index += 1
    return [(word.start // 8, word.end // 8, word.text) for word in heard]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.integers(0, 300))
def test_words_come_out_as_they_went_in_however_the_audio_is_cut(sizes: list[int], gap_ms: int) -> None:
    sizes[0] = max(sizes[0], 150)  # else thousands of one-byte steps
    audio = encode_words(WORDS, gap_ms, lead_ms=130, tail_ms=50)
    assert decode(audio, sizes) == word_times(WORDS, gap_ms, lead_ms=130)


def test_a_usual_word_lasts_200_ms() -> None:
    assert WORD_MS == 200
    assert len(encode_word("שלום")) == 1600


@given(st.integers(1, 1599), st.integers(1, 1599))
def test_a_part_of_a_word_is_nothing_and_harms_no_neighbour(front: int, back: int) -> None:
    audio = encode_words(["אחת", "שתיים", "שלוש"], 60)
    heard = [text for _, _, text in decode(audio[front:-back], [1200])]
    # two milliseconds of a word may be missing: that is the decoder's tolerance
    assert heard in (["שתיים"], ["אחת", "שתיים"], ["שתיים", "שלוש"], ["אחת", "שתיים", "שלוש"])
    if front > 40:
        assert "אחת" not in heard
    if back > 40:
        assert "שלוש" not in heard


def test_noise_and_silence_are_no_words() -> None:
    noise = random.Random(1).randbytes(16_000)
    assert decode(noise, [1200]) == []
    assert decode(b"\xff" * 16_000, [1200]) == []


def test_a_word_with_a_hole_is_not_heard() -> None:
    audio = bytearray(encode_words(numbered(3), 100))
    audio[2400 + 400 : 2400 + 800] = b"\xff" * 400
    assert [text for _, _, text in decode(bytes(audio), [1200])] == ["מילה0", "מילה2"]


def test_what_has_no_code_is_refused() -> None:
    with pytest.raises(ValueError, match="no code"):
        encode_word("a b")
    with pytest.raises(ValueError, match="no code"):
        encode_word("")
