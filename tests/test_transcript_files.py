"""The three written forms, by example and read back."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from moked.transcript_files import Format, Segment, Transcript, clock, merged, srt, text_line, written

LONG = "שלום, אני מחפש מישהו שיתקן לי את הדוד.\nהוא דולף כבר שבוע, ואין לנו מים."
SAID = ["שלום", "a", "-->", "50-2345678", "כן,", "ו" * 60, "\n"]
CALL = merged(
    [
        Segment(61_000, 80_000, "caller", LONG, 0.7),
        Segment(3_700, 5_250, "agent", "שלום.", None),
        Segment(6_000, 6_500, "caller", "  ", 0.1),
    ]
)
TRANSCRIPT = Transcript("call.wav", 90_000, "whisper", "base", "he", "wideband", ("caller", "agent"), CALL)


def test_text_is_a_line_an_utterance():
    assert written(TRANSCRIPT, Format.TEXT) == (
        "[0:00:03] agent: שלום.\n"
        "[0:01:01] caller: שלום, אני מחפש מישהו שיתקן לי את הדוד. הוא דולף כבר שבוע, ואין לנו מים.\n"
    )
    assert text_line(Segment(0, 1, None, "כן", None)) == "[0:00:00] כן"
    assert clock(3_723_999) == "1:02:03"


def test_srt_has_two_lines_at_most_and_shares_out_what_is_longer():
    assert srt(CALL) == (
        "1\n00:00:03,700 --> 00:00:05,250\n\u200fagent: שלום.\n"
        "\n"
        "2\n00:01:01,000 --> 00:01:07,909\n\u200fcaller: שלום, אני מחפש מישהו\n"
        "\n"
        "3\n00:01:07,909 --> 00:01:13,090\n\u200fשיתקן לי את הדוד. הוא\n"
        "\n"
        "4\n00:01:13,090 --> 00:01:20,000\n\u200fדולף כבר שבוע, ואין לנו מים.\n"
    )
    assert srt([]) == ""


def test_an_arrow_in_the_words_is_not_taken_for_a_time():
    assert srt([Segment(0, 1000, None, "a --> b", None)]) == "1\n00:00:00,000 --> 00:00:01,000\na -> b\n"


def test_json_is_as_documented():
    data = msgspec.json.decode(written(TRANSCRIPT, Format.JSON))
    assert list(data) == [
        "file", "duration_ms", "engine", "model", "language", "audio", "speakers", "segments", "warnings", "schema",
    ]  # fmt: skip
    assert data["segments"][0] == {
        "start_ms": 3700, "end_ms": 5250, "speaker": "agent", "text": "שלום.", "confidence": None,
    }  # fmt: skip
    assert data["speakers"] == ["caller", "agent"]


# --- read back --------------------------------------------------------------------------------------------------------

SEGMENTS = st.lists(
    st.builds(
        lambda start, length, speaker, text, confidence: Segment(start, start + length, speaker, text, confidence),
        st.integers(0, 8_000_000),
        st.integers(1, 30_000),
        st.sampled_from([None, "left", "נציג"]),
        st.one_of(
            st.lists(st.sampled_from(SAID), max_size=60).map(" ".join),
            st.text(max_size=80),
        ),
        st.none() | st.floats(0, 1),
    ),
    max_size=6,
)


def read_srt(text):
    """As strictly as the strictest player: numbers in order, a time line, one or two lines, a blank one."""
    cues = []
    for number, block in enumerate(text.split("\n\n") if text else [], 1):
        head, times, *lines = block.rstrip("\n").split("\n")
        assert head == str(number)
        match = re.fullmatch(r"(\d\d+):(\d\d):(\d\d),(\d{3}) --> (\d\d+):(\d\d):(\d\d),(\d{3})", times)
        assert match, times
        h1, m1, s1, f1, h2, m2, s2, f2 = map(int, match.groups())
        assert 1 <= len(lines) <= 2
        assert all(lines)
        cues.append((((h1 * 60 + m1) * 60 + s1) * 1000 + f1, ((h2 * 60 + m2) * 60 + s2) * 1000 + f2, lines))
    return cues


@given(SEGMENTS)
def test_srt_reads_back_with_every_word(segments):
    spoken = merged(segments)
    cues = read_srt(srt(spoken))
    assert all(start < end for start, end, _ in cues)
    assert [cue[0] for cue in cues] == sorted(cue[0] for cue in cues)
    words = sorted(word for *_, lines in cues for line in lines for word in line.removeprefix("\u200f").split(" "))
    said = [f"{one.speaker}: {one.text}" if one.speaker else one.text for one in spoken]
    assert words == sorted(word.replace("-->", "->") for text in said for word in text.split(" "))
    for one in spoken:
        assert any(start == one.start_ms for start, *_ in cues)
    for *_, lines in cues:
        assert all(len(line) <= 43 or " " not in line for line in lines)


@given(SEGMENTS)
def test_text_and_json_read_back(segments):
    spoken = merged(segments)
    transcript = msgspec.structs.replace(TRANSCRIPT, segments=spoken)
    assert msgspec.json.decode(written(transcript, Format.JSON), type=Transcript, strict=True) == transcript
    lines = written(transcript, Format.TEXT).splitlines()
    assert len(lines) == len(spoken)
    assert [one.start_ms for one in spoken] == sorted(one.start_ms for one in spoken)
