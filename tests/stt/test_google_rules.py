"""Google's words and what they mean here, one line each."""

from types import SimpleNamespace
from typing import Any

import pytest

from moked.errors import Failure
from moked.stt import Final, Interim, Word
from moked.stt.google_rules import (
    ModelLadder,
    Results,
    failure,
    host,
    is_about_the_model,
    is_broken,
    is_unexplained,
    language,
    models,
    plain,
    refused_features,
    status_name,
)

REFUSED = "Invalid recognition 'config': The phone_call model is currently not supported for language : iw-IL."

CLOSED = "Permission denied for project 1 on model chirp_3 locale iw-IL. It is no longer generally available."


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        ("OUT_OF_RANGE", "Exceeded maximum allowed stream duration of 305 seconds.", Failure.EXPIRED),
        (
            "OUT_OF_RANGE",
            "Audio Timeout Error: Long duration elapsed without audio. Audio should be sent close to real time.",
            Failure.EXPIRED,
        ),
        ("OUT_OF_RANGE", "Audio data is being streamed too fast. Please stream audio data", Failure.UNAVAILABLE),
        ("OUT_OF_RANGE", "Audio data is being streamed too slow. Please stream audio data", Failure.UNAVAILABLE),
        ("ABORTED", "Stream timed out after receiving no more client requests.", Failure.EXPIRED),
        ("ABORTED", "Max duration of 5 minutes reached for stream.", Failure.EXPIRED),
        ("ABORTED", "The operation was aborted.", Failure.UNAVAILABLE),
        ("INVALID_ARGUMENT", REFUSED, Failure.CONFIG),
        ("INVALID_ARGUMENT", "Request payload size exceeds the limit: 10485760 bytes.", Failure.CONFIG),
        ("FAILED_PRECONDITION", "", Failure.CONFIG),
        ("UNIMPLEMENTED", "", Failure.CONFIG),
        ("NOT_FOUND", "", Failure.CONFIG),
        ("INTERNAL", "Internal error from Core", Failure.UNAVAILABLE),
        ("INTERNAL", "Internal error encountered.", Failure.UNAVAILABLE),
        ("UNAVAILABLE", "502:Bad Gateway", Failure.UNAVAILABLE),
        ("UNAVAILABLE", "408:Request Timeout", Failure.UNAVAILABLE),
        ("UNAVAILABLE", "failed to connect to all addresses", Failure.UNAVAILABLE),
        (
            "UNAVAILABLE",
            "Getting metadata from plugin failed with error: ('invalid_grant: Invalid JWT Signature.', {})",
            Failure.AUTH,
        ),
        ("UNKNOWN", "Stream removed", Failure.UNAVAILABLE),
        ("CANCELLED", "Received RST_STREAM with error code 8", Failure.UNAVAILABLE),
        ("DATA_LOSS", "", Failure.PROTOCOL),
        ("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Concurrent streams'.", Failure.QUOTA),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (5000000 vs. 4194304)", Failure.CONFIG),
        ("UNAUTHENTICATED", "Request had invalid authentication credentials.", Failure.AUTH),
        ("PERMISSION_DENIED", "Cloud Speech-to-Text API has not been used in project", Failure.AUTH),
        ("PERMISSION_DENIED", CLOSED, Failure.CONFIG),
        ("INVALID_ARGUMENT", 'The model "chirp_3" does not exist in the location named "global".', Failure.CONFIG),
        ("INVALID_ARGUMENT", "Recognizer does not support feature: speech_adaptation_boost", Failure.CONFIG),
        ("INVALID_ARGUMENT", "Audio chunk can be of a a maximum of 25600 bytes.", Failure.CONFIG),
        ("DEADLINE_EXCEEDED", "Stream removed (Deadline Exceeded)", Failure.TIMEOUT),
        ("OK", "", Failure.CLOSED),
        ("SOMETHING_NEW", "", Failure.UNAVAILABLE),
    ],
)
def test_every_known_ending_has_its_treatment(status: str, text: str, kind: Failure) -> None:
    assert failure(status, text) is kind


def test_only_a_refused_configuration_is_a_reason_for_another_model() -> None:
    assert is_about_the_model("INVALID_ARGUMENT", REFUSED)
    assert not is_about_the_model("INVALID_ARGUMENT", "Request payload size exceeds the limit: 10485760 bytes.")
    assert not is_about_the_model("UNAVAILABLE", REFUSED)
    assert is_about_the_model("INVALID_ARGUMENT", 'The model "chirp_2" does not exist in the location named "global".')
    assert is_about_the_model("INVALID_ARGUMENT", 'The language "iw-IL" is not supported by the model "long" in "eu".')
    assert is_about_the_model("PERMISSION_DENIED", CLOSED)
    assert not is_about_the_model("PERMISSION_DENIED", "The caller does not have permission")
    assert not is_about_the_model("INVALID_ARGUMENT", "Expected resource location to be global, but found eu in it.")
    assert is_unexplained("INTERNAL", "Internal error from Core")
    assert not is_unexplained("INTERNAL", "Internal error encountered.")
    assert is_broken("UNAVAILABLE", "Stream removed (sendmsg: Broken pipe (32))")
    assert is_broken("UNAVAILABLE", "recvmsg:Connection reset by peer")
    assert not is_broken("UNAVAILABLE", "The service is currently unavailable.")
    assert not is_broken("INTERNAL", "Broken pipe")
    assert [status_name(code) for code in (0, 3, 8, 11, 16, 99)] == [
        *("OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "UNAUTHENTICATED", "UNKNOWN"),
    ]


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("Recognizer does not support feature: speech_adaptation_boost", {"boost"}),
        ("Recognizer does not support feature: speech_adaptation", {"hints"}),
        ("Recognizer does not support feature: phrase_sets", {"hints"}),
        ("Recognizer does not support feature: word_time_offsets", {"words"}),
        ("Recognizer does not support feature: word_level_confidence", {"words"}),
        ("Recognizer does not support feature: automatic_punctuation", {"punctuation"}),
        ("Recognizer does not support feature: telepathy", {"hints", "words", "punctuation"}),
        ("Config contains unsupported fields", {"hints", "words", "punctuation"}),
        ("Request payload size exceeds the limit", set()),
    ],
)
def test_a_refused_feature_is_known_by_its_name(text: str, features: set[str]) -> None:
    assert refused_features("INVALID_ARGUMENT", text) == features
    assert refused_features("UNAVAILABLE", text) == frozenset()


def test_what_v2_calls_otherwise() -> None:
    assert models("v1", "phone_call") == ("phone_call", "default", "command_and_search", "")
    assert models("v2", "phone_call") == ("telephony", "long", "chirp_3", "chirp_2", "short")
    assert models("v2", "chirp_3") == ("chirp_3", "telephony", "long", "chirp_2", "short")
    assert models("v2", "latest_long")[0] == "long"
    assert "" not in models("v2", "default"), "v2 wants a model's name"
    assert [language("v2", tag) for tag in ("he-IL", "HE-il", "he", "iw-IL", "ar-IL")] == [
        *("iw-IL", "iw-IL", "iw-IL", "iw-IL", "ar-IL"),
    ]
    assert language("v1", "he-IL") == "he-IL"
    assert (host("global"), host("eu")) == ("speech.googleapis.com", "eu-speech.googleapis.com")


def test_each_model_remembers_what_it_refused() -> None:
    ladder = ModelLadder("telephony", "long")
    ladder.served("telephony")
    assert ladder.lacks("telephony", frozenset(("boost",)))
    assert not ladder.proven, "its streams keep their audio again"
    assert not ladder.lacks("telephony", frozenset(("boost",))), "told once"
    assert ladder.lacks("telephony", frozenset(("boost", "words")))
    assert ladder.without == {"boost", "words"}
    ladder.refused("telephony")
    assert ladder.without == frozenset(), "another model may have it"


def test_the_ladder_goes_down_once_and_remembers() -> None:
    ladder = ModelLadder(*models("v1", "phone_call"))
    assert ladder.current == "phone_call"
    assert ladder.refused("phone_call") == "default"
    assert ladder.refused("phone_call") == "default", "a second stream learns from the first"
    assert ladder.served("default")
    assert not ladder.served("default"), "told once"
    assert ladder.proven
    assert ladder.refused("default") == "command_and_search"
    assert not ladder.proven
    assert ladder.refused("command_and_search") == ""
    assert ladder.refused("") is None
    assert ladder.current == "phone_call", "when all are refused the next stream asks from the top"


def test_a_configured_model_of_the_ladder_is_not_asked_twice() -> None:
    ladder = ModelLadder(*models("v1", "default"))
    assert ladder.refused("default") == "command_and_search"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("שלום, מה שלומך?", "שלום מה שלומך"),
        ("שלום,מה", "שלום מה"),
        ("בשעה 10:30, מחיר 3.5 או 1,200.", "בשעה 10:30 מחיר 3.5 או 1,200"),
        ("צה\"ל וג'ירף ורח' הרצל", "צה\"ל וג'ירף ורח' הרצל"),
        ("תל-אביב - יפו – חיפה", "תל-אביב יפו חיפה"),
        ("טוב...", "טוב"),
        ("...", ""),
        ("  כן  ", "כן"),
    ],
)
def test_punctuation_goes_and_words_stay(text: str, expected: str) -> None:
    assert plain(text) == expected


def span(ms: int) -> Any:
    return SimpleNamespace(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def part(text: str, end_ms: int, *, final: bool = False, stability: float = 0.0, confidence: float = 0.0) -> Any:
    words = [
        SimpleNamespace(word=w, start_time=span(100 * i), end_time=span(100 * i + 90)) for i, w in enumerate(["א"])
    ]
    best = SimpleNamespace(transcript=text, confidence=confidence, words=words if final else [])
    return SimpleNamespace(alternatives=[best], is_final=final, stability=stability, result_end_time=span(end_ms))


def test_all_results_of_a_response_make_one_hypothesis() -> None:
    results = Results("google", 60_000, plain_interims=True, plain_finals=False)
    heard = results.read([part("אני רוצה,", 700, stability=0.9), part(" לקבוע", 1100, stability=0.1)], 61_500)
    assert heard == [Interim("אני רוצה לקבוע", 60_000, 61_100, 0.1, "google")]


def test_a_final_comes_before_the_interims_of_its_response() -> None:
    results = Results("google", 0, plain_interims=True, plain_finals=False)
    heard = results.read([part("שלום.", 900, final=True, confidence=0.8), part("מה", 1200, stability=0.5)], 1500)
    assert heard == [
        Final("שלום.", 0, 900, 0.8, "google", (Word("א", 0, 90),)),
        Interim("מה", 900, 1200, 0.5, "google"),
    ]


def test_what_is_not_set_is_not_known() -> None:
    results = Results("google", 500, plain_interims=True, plain_finals=True)
    final, interim = results.read([part("כן.", 0, final=True), part("לא", 0)], 2500)
    assert isinstance(final, Final)
    assert (final.text, final.end_ms, final.confidence) == ("כן", 2500, None)
    assert isinstance(interim, Interim)
    assert interim.stability == 0.0


def test_v2_names_the_same_otherwise() -> None:
    word = SimpleNamespace(word="כן", start_offset=span(100), end_offset=span(400))
    best = SimpleNamespace(transcript="כן", confidence=0.0, words=[word])
    result = SimpleNamespace(alternatives=[best], is_final=True, stability=0.0, result_end_offset=span(700))
    results = Results("google", 1000, plain_interims=True, plain_finals=True, api="v2")
    assert results.read([result], 5000) == [Final("כן", 1100, 1700, None, "google", (Word("כן", 1100, 1400),))]


def test_results_never_end_after_the_audio() -> None:
    results = Results("google", 0, plain_interims=True, plain_finals=True)
    (final,) = results.read([part("כן", 5000, final=True)], 2000)
    assert final.end_ms == 2000


def test_results_without_words_are_nothing() -> None:
    results = Results("google", 0, plain_interims=True, plain_finals=True)
    empty = SimpleNamespace(alternatives=[], is_final=True)
    assert results.read([empty, part(" ", 100, final=True), part(".", 200)], 300) == []
