"""Secrets at rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.sealed import OVERHEAD, Sealer
from moked.errors import SealError
from moked.recording import container

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_is_sealed_can_be_opened_in_its_place_alone(plain, context):
    sealer = Sealer(KEY)
    sealed = sealer.seal(plain, context)
    assert sealer.open(sealed, context) == plain
    assert plain not in sealed or len(plain) < 4
    assert sealer.seal(plain, context) != sealed
    with pytest.raises(SealError):
        sealer.open(sealed, context + "x")


@given(st.binary(min_size=1, max_size=40), st.data())
def test_damage_is_noticed(plain, data):
    sealer = Sealer(KEY)
    sealed = bytearray(sealer.seal(plain, "totp:1"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealError):
        sealer.open(bytes(sealed), "totp:1")
    with pytest.raises(SealError):
        sealer.open(bytes(sealed[:at]), "totp:1")


def test_an_older_key_still_opens_and_its_work_is_stale():
    old = Sealer(OTHER).seal(b"secret", "x")
    with pytest.raises(SealError, match="DATA_KEY has changed"):
        Sealer(KEY).open(old, "x")
    both = Sealer(KEY, OTHER)
    assert both.open(old, "x") == b"secret"
    assert both.stale(old)
    assert not both.stale(both.seal(b"secret", "x"))


def test_a_key_has_32_bytes():
    with pytest.raises(SealError):
        Sealer(b"short")


def test_the_container_knows_what_sealing_adds():
    assert container.OVERHEAD == OVERHEAD == len(Sealer(KEY).seal(b"", ""))
