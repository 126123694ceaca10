"""Sealed values: what goes in comes out, and nothing else does."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.sealed import Sealer, data_key
from moked.errors import SealError

KEY = bytes(range(32))


@given(st.binary(max_size=500), st.text(max_size=40))
def test_what_was_sealed_can_be_opened(plain, context):
    sealed = Sealer(KEY).seal(plain, context)
    assert Sealer(KEY).open(sealed, context) == plain
    assert sealed != Sealer(KEY).seal(plain, context)


@given(st.binary(min_size=1, max_size=60), st.integers(0, 88))
def test_a_changed_bit_is_seen(plain, at):
    sealed = bytearray(Sealer(KEY).seal(plain, "a"))
    sealed[at % len(sealed)] ^= 1
    with pytest.raises(SealError):
        Sealer(KEY).open(bytes(sealed), "a")


@pytest.mark.parametrize(("key", "context"), [(KEY, "b"), (bytes(32), "a")])
def test_another_place_or_another_key_does_not_open(key, context):
    with pytest.raises(SealError):
        Sealer(key).open(Sealer(KEY).seal(b"secret", "a"), context)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01short", b"\x02" + bytes(40)])
def test_what_is_not_sealed_is_an_error_of_ours(sealed):
    with pytest.raises(SealError):
        Sealer(KEY).open(sealed, "a")


def test_a_key_has_32_bytes():
    with pytest.raises(SealError, match="16 bytes"):
        Sealer(bytes(16))


def test_the_key_is_made_once_and_only_ours_to_read(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: data_key("", tmp_path / "new"), range(16)))
    assert len(keys) == 1
    path = tmp_path / "new" / "data.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.key"]
    assert data_key("", tmp_path / "new") in keys


@pytest.mark.parametrize("given_key", ["nonsense!", base64.b64encode(bytes(16)).decode()])
def test_a_key_that_is_none_is_named(given_key, tmp_path):
    with pytest.raises(SealError, match="DATA_KEY"):
        data_key(given_key, tmp_path)


def test_a_given_key_needs_no_file(tmp_path):
    assert data_key(base64.b64encode(KEY).decode(), tmp_path) == KEY
    assert list(tmp_path.iterdir()) == []
