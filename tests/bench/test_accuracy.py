"""The accuracy bench: its data, its readers, its figures; and that it still runs."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from bench import accuracy, page
from bench.accuracy import DATA, ROOT, Clip, Heard, figures, folder_of, rate
from moked import weights
from moked.errors import MokedError
from moked.stt.wer import Errors, words
from tests.test_recordings import sine, wav


def test_the_recorded_words_are_named_once_and_in_hebrew():
    with (DATA / "gcompris.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert len({row["file"] for row in rows}) == len(rows) == 85
    assert {row["set"] for row in rows} == {"digits", "numbers", "letters", "colours", "phrases"}
    for row in rows:
        assert set(row["text"]) <= set("אבגדהוזחטיךכלםמןנסעףפץצקרשת "), row
        if accuracy.RECORDED.is_dir():
            assert (accuracy.RECORDED / row["file"]).is_file()


def test_the_sentences_are_what_callers_say():
    lines = (DATA / "sentences.txt").read_text("utf-8").splitlines()
    assert len(set(lines)) == len(lines) == 40
    assert all(2 <= len(words(line)) <= 12 for line in lines)


@pytest.mark.parametrize("how", ["beside", "manifest.csv", "manifest.tsv", "manifest.jsonl"])
def test_a_folder_brings_its_words(tmp_path, how):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        wav(tmp_path / "in" / f"{name}.wav", sine(0.5, 8000)[:, None], 8000)
    if how == "beside":
        for name in ("a", "b"):
            (tmp_path / "in" / f"{name}.txt").write_text(f"שלום {name}\n", "utf-8")
    elif how == "manifest.jsonl":
        rows = [{"file": "in/a.wav", "text": "שלום a"}, {"audio_filepath": "in/b.wav", "text": "שלום b"}]
        (tmp_path / how).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = "," if how.endswith("csv") else "\t"
        rows = [mark.join(row) for row in (("file", "text"), ("in/a.wav", "שלום a"), ("in/b.wav", "שלום b"))]
        (tmp_path / how).write_text("\n".join(rows), "utf-8-sig")
    clips = list(folder_of(tmp_path))
    assert [(clip.name, clip.text.strip(), len(clip.sound)) for clip in clips] == [
        ("in/a.wav", "שלום a", 8000),
        ("in/b.wav", "שלום b", 8000),
    ]


def test_a_folder_without_words_says_what_is_missing(tmp_path):
    wav(tmp_path / "a.wav", sine(0.5, 8000)[:, None], 8000)
    with pytest.raises(MokedError, match=r"name\.txt beside name\.wav"):
        list(folder_of(tmp_path))


def test_figures_count_all_words_together_and_the_interval_holds_the_rate():
    sound = np.zeros(1, dtype=np.int16)
    heard = [
        Heard(Clip("set", "1", "אני צריכה טכנאי מחר", sound), "אני צריכה טכנאי מחר."),
        Heard(Clip("set", "2", "תכנית", sound), "תוכנית"),
        Heard(Clip("set", "3", "כן", sound), ""),
    ]
    found = figures(heard)
    assert (found["n"], found["words"], found["nothing_heard"]) == (3, 6, 1)
    assert found["wer"]["rate"] == pytest.approx(2 / 6, abs=0.001)
    assert found["wer_folded"]["rate"] == pytest.approx(1 / 6, abs=0.001)
    assert found["wer"]["low"] <= found["wer"]["rate"] <= found["wer"]["high"]
    assert rate([Errors(1, 0, 0, 2)] * 9) == {"rate": 0.5, "low": 0.5, "high": 0.5}


def test_the_page_shows_every_row_and_what_is_missing():
    one = {"rate": 0.431, "low": 0.36, "high": 0.5}
    row = {"engine": "whisper", "model": "base", "set": "voice", "band": "wide", "n": 40, "wall_s": 9.1}
    row |= {"cpu_per_audio_s": 0.05, "wer": one, "cer": one, "wer_folded": one, "cer_folded": one}
    text = page.accuracy({"rows": [row], "missing": {"google": "no key"}})
    assert "| whisper (base) | voice | wide | 40 | 43 % (36-50) |" in text
    assert "Not measured: google: no key." in text


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not all(weights.available(name) for name in ("whisper-base", "nakdimon", "phonikud", "kokoro")),
    reason="`moked models install --all` brings the weights",
)
def test_it_still_runs(tmp_path):
    command = [sys.executable, "-m", "bench.accuracy", "--quick", "--engines", "whisper", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "accuracy.json").read_text())["rows"]
    assert {(row["set"], row["band"]) for row in rows} >= {("voice", "wide"), ("voice", "phone")}
    assert all(row["n"] > 0 and row["audio_s"] > 0 and row["wer"]["rate"] >= 0 for row in rows)
