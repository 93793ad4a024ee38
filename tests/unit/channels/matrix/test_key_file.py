"""Files of exported keys: what one writes the other reads, and nothing else is believed."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nio.crypto import key_export

from nanoclawd.channels.matrix.key_file import MAX_ROUNDS, seal, unseal
from nanoclawd.errors import Refused

HEADER, FOOTER = "-----BEGIN MEGOLM SESSION DATA-----", "-----END MEGOLM SESSION DATA-----"


@given(data=st.binary(max_size=2000), passphrase=st.text(min_size=1, max_size=50))
def test_what_was_sealed_is_unsealed(data: bytes, passphrase: str):
    sealed = seal(data, passphrase, rounds=2)
    assert unseal(sealed, passphrase) == data
    with pytest.raises(Refused, match="passphrase"):
        unseal(sealed, passphrase + ".")
    assert seal(data, passphrase, rounds=2) != sealed


@given(data=st.binary(max_size=500), passphrase=st.text(st.characters(codec="ascii"), min_size=1, max_size=20))
def test_the_library_reads_and_writes_the_same(data: bytes, passphrase: str):
    theirs = f"{HEADER}\n{key_export.encrypt(data, passphrase, count=2)}\n{FOOTER}"
    assert unseal(theirs.encode(), passphrase) == data
    ours = seal(data, passphrase, rounds=2).decode().replace("\n", "")
    assert key_export.decrypt(ours.removeprefix(HEADER).removesuffix(FOOTER).rstrip("="), passphrase) == data


@given(content=st.binary(max_size=300) | st.binary(max_size=300).map(lambda one: _framed(b64encode(one))))
def test_anything_else_is_refused(content: bytes):
    with pytest.raises(Refused):
        unseal(content, "a passphrase")


@given(place=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_changed_file_is_refused(place: int, bit: int):
    sealed = bytearray(seal(b"the keys" * 10, "a passphrase", rounds=1))
    sealed[place % len(sealed)] ^= 1 << bit
    try:
        found = unseal(bytes(sealed), "a passphrase")
    except Refused:
        return
    assert found == b"the keys" * 10, "only what means nothing was changed: a line's end"


def test_a_file_does_not_say_how_long_it_keeps_a_processor_busy():
    payload = b"\x01" + bytes(32) + (MAX_ROUNDS + 1).to_bytes(4) + bytes(32)
    with pytest.raises(Refused, match="rounds"):
        unseal(_framed(b64encode(payload)), "a passphrase")


def _framed(text: bytes) -> bytes:
    return b"\n".join((HEADER.encode(), text, FOOTER.encode()))
