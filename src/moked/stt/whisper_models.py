"""Which Whisper models there are, and what is wrong with the one that was named: seen before anything is loaded.

`WHISPER_MODEL` is a folder of a CTranslate2 model, or the name of one on a model hub. The embedded `base` understands
Hebrew badly and is there so that everything runs; `RECOMMENDED` is made for it.
"""

import re
from pathlib import Path
from typing import Final

RECOMMENDED: Final = "ivrit-ai/whisper-large-v3-turbo-ct2"

_ON_A_HUB: Final = re.compile(r"[A-Za-z0-9][\w.\-]*(/[\w.\-]+)?")
_NEEDED: Final = ("model.bin", "config.json", "tokenizer.json")
_SMALLEST: Final = 1_000_000  # bytes: the weights of the smallest Whisper are 75 MB


def is_folder(model: str) -> bool:
    """Whether `model` is meant as a place on this machine rather than a name."""
    return model.startswith(("/", ".", "~")) or "\\" in model or model.endswith("/") or Path(model).exists()


def problem_with(model: str) -> str:
    """Why `model` cannot be loaded, as far as can be seen without trying; empty for a hub's name that looks right."""
    if not is_folder(model):
        return "" if _ON_A_HUB.fullmatch(model) else "it is no folder, and no name a model hub could know"
    folder = Path(model).expanduser()
    if not folder.exists():
        return "there is no such folder"
    if not folder.is_dir():
        return "it is a file; the folder around it is wanted"
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if not any(folder.glob("vocabulary.*")):
        missing.append("vocabulary.json")
    if missing:
        return f"the folder has no {', '.join(missing)}"
    if (folder / "model.bin").stat().st_size < _SMALLEST:
        return "its model.bin is no model: it was not downloaded to its end"
    return ""


def advice(model: str) -> str:
    """What to do about a model that cannot be loaded."""
    embedded = "unset WHISPER_MODEL for the embedded one"
    if is_folder(model):
        return (
            "Set WHISPER_MODEL to a folder with a whole CTranslate2 Whisper model (model.bin, config.json,"
            f" tokenizer.json, vocabulary.json), or {embedded}"
        )
    return (
        "Download the model on a machine that reaches its hub and set WHISPER_MODEL to the folder, set HF_ENDPOINT to a"
        f" hub that can be reached, or {embedded}"
    )
