"""Utterances by the audio's own clock, from each kind of source."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emulators.listener import Codec, Energy, Heard, Listener, Recording, Script
from emulators.wordcodec import encode_words, numbered, word_times
from moked.audio import from_float, silence


def voice(ms: int, seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 0.1, ms * 8).astype(np.float32)
    return from_float(noise)


def listen(listener: Listener, audio: bytes, size: int = 1200) -> list[Heard]:
    news: list[Heard] = []
    for at in range(0, len(audio), size):
        news += listener.hear(audio[at : at + size])
    return news + listener.close()


def texts(news: list[Heard], kind: str = "final") -> list[str]:
    return [" ".join(word.text for word in item.words) for item in news if item.kind == kind]


@given(st.integers(100, 5000))
def test_codec_words_come_once_with_their_times_however_the_audio_is_cut(size: int) -> None:
    words = numbered(6)
    audio = encode_words(words[:4], 100, lead_ms=500, tail_ms=400) + encode_words(words[4:], 100, tail_ms=0)
    news = listen(Listener(Codec()), audio, size)
    assert texts(news) == [" ".join(words[:4]), " ".join(words[4:])]
    final = next(item for item in news if item.kind == "final")
    assert [(w.start_ms, w.end_ms, w.text) for w in final.words] == word_times(words[:4], 100, lead_ms=500)


def test_interims_grow_every_200_ms_of_speech() -> None:
    audio = encode_words(numbered(10), 100, tail_ms=600)
    listener, at = Listener(Codec()), []
    for start in range(0, len(audio), 160):
        at += [item.at_ms for item in listener.hear(audio[start : start + 160]) if item.kind == "interim"]
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert len(at) >= 13
    assert 180 <= sum(gaps) / len(gaps) <= 220


def test_silence_is_nothing() -> None:
    assert listen(Listener(Codec()), silence(5000)) == []
    assert listen(Listener(Energy(["שלום"])), silence(5000)) == []


def test_energy_speaks_two_and_a_half_words_a_second() -> None:
    sentences = ["אני צריכה טכנאי למזגן", "בבקשה כמה שיותר מהר"]
    news = listen(Listener(Energy(sentences)), silence(300) + voice(2000) + silence(500) + voice(400) + silence(400))
    assert texts(news) == ["אני צריכה טכנאי למזגן בבקשה", "כמה"]


def test_energy_can_say_whole_sentences() -> None:
    sentences = ["אני צריכה טכנאי למזגן", "כן"]
    news = listen(Listener(Energy(sentences, whole=True)), voice(900) + silence(500) + voice(2500) + silence(400))
    assert texts(news) == sentences


def test_a_script_without_audio_counts_from_the_start_of_the_stream() -> None:
    recording = Recording(((300, 700, "שלום"), (700, 1100, "רב")))
    assert texts(listen(Listener(Script([recording])), silence(300) + voice(900) + silence(500))) == ["שלום רב"]


def test_a_script_finds_its_recording_wherever_the_stream_begins() -> None:
    speech = silence(200) + voice(400, 1) + silence(350) + voice(400, 2) + silence(300)
    recording = Recording(((200, 600, "אחת"), (950, 1350, "שתיים")), speech)
    news = listen(Listener(Script([recording])), silence(1000) + speech)
    assert texts(news) == ["אחת", "שתיים"]
    assert [w.start_ms for item in news if item.kind == "final" for w in item.words] == [1200, 1950]
    late = speech[300 * 8 :]  # in the middle of the first word: it is not heard, the second is
    assert texts(listen(Listener(Script([recording])), late)) == ["שתיים"]


def test_what_is_open_at_the_half_close_becomes_final() -> None:
    assert texts(listen(Listener(Codec()), encode_words(["שלום"]))) == ["שלום"]
