"""Files of exported keys, as Matrix apps read and write them (Client-Server API, "Key exports").

The library's own way to and from a passphrase takes twelve seconds for what Element writes, and as long as the file
likes for any other; this one takes a quarter of one, and has a bound.
"""

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from binascii import Error
from typing import Final

from nanoclawd.errors import Refused

ROUNDS: Final = 500_000
"""As many as Element takes; the specification wants 100,000 at least."""

MAX_ROUNDS: Final = 20_000_000
"""Some ten seconds."""

_BEGIN: Final = b"-----BEGIN MEGOLM SESSION DATA-----"
_END: Final = b"-----END MEGOLM SESSION DATA-----"
_VERSION: Final = b"\x01"
_SALT, _IV, _COUNT, _TAG = 16, 16, 4, 32
_FIXED: Final = len(_VERSION) + _SALT + _IV + _COUNT
_LINE: Final = 96


def seal(data: bytes, passphrase: str, rounds: int = ROUNDS) -> bytes:
    """Return a file that holds ``data`` for those who know the passphrase."""
    salt = secrets.token_bytes(_SALT)
    iv = bytearray(secrets.token_bytes(_IV))
    iv[8] &= 0x7F  # bit 63, which some implementations count beyond
    key, tag_key = _keys(passphrase, salt, rounds)
    payload = b"".join((_VERSION, salt, iv, rounds.to_bytes(_COUNT), _crypt(data, key, bytes(iv))))
    text = b64encode(payload + hmac.digest(tag_key, payload, "sha256"))
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return b"\n".join([_BEGIN, *lines, _END, b""])


def unseal(content: bytes, passphrase: str) -> bytes:
    """Return what a file holds.

    Raises:
        Refused: it is no such file, or the passphrase is another.
    """
    text = b"".join(content.split())
    begin, end = (b"".join(one.split()) for one in (_BEGIN, _END))
    if not (text.startswith(begin) and text.endswith(end)) or len(text) < len(begin) + len(end):
        raise Refused("this is no file of keys that a Matrix app has exported")
    text = text[len(begin) : -len(end)].rstrip(b"=")
    try:
        payload = b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except Error:
        raise Refused("the file of keys is damaged") from None
    if len(payload) < _FIXED + _TAG or not payload.startswith(_VERSION):
        raise Refused("the file of keys is damaged, or of a version that nobody knows yet")
    rounds = int.from_bytes(payload[_FIXED - _COUNT : _FIXED])
    if not 0 < rounds <= MAX_ROUNDS:
        raise Refused(f"the file of keys wants {rounds} rounds of its passphrase; {MAX_ROUNDS} are the most")
    salt, iv = payload[1 : 1 + _SALT], payload[1 + _SALT : 1 + _SALT + _IV]
    key, tag_key = _keys(passphrase, salt, rounds)
    if not hmac.compare_digest(hmac.digest(tag_key, payload[:-_TAG], "sha256"), payload[-_TAG:]):
        raise Refused("the passphrase is wrong, or the file of keys is damaged")
    return _crypt(payload[_FIXED:-_TAG], key, iv)


def _keys(passphrase: str, salt: bytes, rounds: int) -> tuple[bytes, bytes]:
    """Return the key of the cipher, and that of the tag."""
    both = hashlib.pbkdf2_hmac("sha512", passphrase.encode(errors="surrogateescape"), salt, rounds, 64)
    return both[:32], both[32:]


def _crypt(data: bytes, key: bytes, iv: bytes) -> bytes:
    """Encrypt, or decrypt: with a counter it is the same."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # heavy, and seldom needed

    cipher = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return cipher.update(data) + cipher.finalize()
