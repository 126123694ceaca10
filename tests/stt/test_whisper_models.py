"""What is wrong with a Whisper model is seen before it is loaded."""

import pytest

from moked.stt.whisper_models import RECOMMENDED, advice, is_folder, problem_with


def folder(path, *, without=(), weights=2_000_000):
    path.mkdir()
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        if name not in without:
            (path / name).write_text("{}")
    if weights:
        (path / "model.bin").write_bytes(bytes(weights))
    return str(path)


@pytest.mark.parametrize("name", [RECOMMENDED, "large-v3-turbo", "tiny.en", "Systran/faster-whisper-small"])
def test_names_are_taken(name):
    assert problem_with(name) == ""
    assert not is_folder(name)
    assert "HF_ENDPOINT" in advice(name)


@pytest.mark.parametrize("name", ["https://hub/model", "a/b/c", "שלום", "a model"])
def test_what_no_hub_can_know_is_told(name):
    assert "name" in problem_with(name)


def test_a_whole_folder_is_taken(tmp_path):
    assert problem_with(folder(tmp_path / "whole")) == ""


def test_what_is_missing_is_named(tmp_path):
    assert problem_with("/no/such/folder") == "there is no such folder"
    assert problem_with("./nor/this/") == "there is no such folder"
    assert problem_with(folder(tmp_path / "a", weights=0)) == "the folder has no model.bin"
    assert problem_with(folder(tmp_path / "b", without=["tokenizer.json", "vocabulary.txt"])) == (
        "the folder has no tokenizer.json, vocabulary.json"
    )
    assert "not downloaded to its end" in problem_with(folder(tmp_path / "c", weights=100))
    file = tmp_path / "model.bin"
    file.write_bytes(b"x")
    assert "it is a file" in problem_with(str(file))
    assert "CTranslate2" in advice(str(file))
