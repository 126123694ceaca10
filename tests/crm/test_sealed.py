"""What is sealed opens with its own key in its own place, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.sealed import OVERHEAD, Sealer, new_key
from moked.errors import SealError
from moked.recording import container

SEALER = Sealer(bytes(range(32)))


@given(st.binary(max_size=300), st.text(max_size=20))
def test_what_was_sealed_opens_again(plain, context):
    sealed = SEALER.seal(plain, context)
    assert SEALER.open(sealed, context) == plain
    assert len(sealed) == len(plain) + OVERHEAD
    assert SEALER.seal(plain, context) != sealed  # a nonce of its own


@given(st.data())
def test_one_changed_bit_is_noticed(data):
    sealed = bytearray(SEALER.seal(b"words", "turn:1"))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(SealError):
        SEALER.open(bytes(sealed), "turn:1")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" * 60])
def test_what_was_never_sealed_does_not_open(sealed):
    with pytest.raises(SealError):
        SEALER.open(sealed, "")


def test_another_key_or_place_does_not_open_it():
    sealed = SEALER.seal(b"words", "turn:1")
    for sealer, context in ((SEALER, "turn:2"), (Sealer(new_key()), "turn:1")):
        with pytest.raises(SealError):
            sealer.open(sealed, context)


def test_a_key_has_32_bytes():
    with pytest.raises(SealError):
        Sealer(b"short")


def test_the_container_knows_what_sealing_adds():
    assert container.OVERHEAD == OVERHEAD
