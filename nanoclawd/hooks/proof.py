"""Whether a request comes from whoever has a hook's secret. Pure; every comparison takes the same time.

``bearer``: the secret is in a header, and all that is kept of it is its hash: 256 random bits can't be guessed from
one. ``hmac-sha256``: the secret makes a signature of the body, so it has to be kept itself.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

BEARER: Final = "bearer"
HMAC: Final = "hmac-sha256"
DEFAULT_HEADER: Final = {BEARER: "authorization", HMAC: "x-hub-signature-256"}

_SECRET_BYTES: Final = 32
_DIGEST_BYTES: Final = 32
_MAX_HEADER: Final = 512
_BEARER: Final = "bearer "
_ALGORITHM: Final = "sha256="
_NOTHING: Final = bytes(_DIGEST_BYTES)


def new_secret() -> str:
    """Return a random secret: 256 bits, in characters that need no quotes anywhere."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hashed(token: str) -> str:
    """Return what is kept of a bearer's token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def token_of(headers: Mapping[str, str], header: str) -> str:
    """Return the token that a request brings, empty for none; ``Bearer`` before it may be missing in other headers."""
    value = headers.get(header, "")[:_MAX_HEADER].strip()
    if value[: len(_BEARER)].lower() == _BEARER:
        return value[len(_BEARER) :].strip()
    return "" if header == DEFAULT_HEADER[BEARER] else value


def signature_of(headers: Mapping[str, str], header: str) -> bytes | None:
    """Return the signature that a request brings, None for none: ``sha256=`` and hex, hex, or base64."""
    value = headers.get(header, "")[:_MAX_HEADER].strip()
    value = value[len(_ALGORITHM) :] if value[: len(_ALGORITHM)].lower() == _ALGORITHM else value
    try:
        found = bytes.fromhex(value) if len(value) == 2 * _DIGEST_BYTES else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return None
    return found if len(found) == _DIGEST_BYTES else None


def proven(
    auth: str, header: str, headers: Mapping[str, str], body: bytes, secret_hash: str | None, secret: bytes | None
) -> bool:
    """Tell whether a request was made with the secret.

    Does the same work whatever the hook is like, also for one that is not there: how long it takes tells nothing.

    Args:
        auth: :data:`BEARER` or :data:`HMAC`.
        header: where the token or the signature is, in lower case.
        headers: of the request.
        body: of the request.
        secret_hash: of a bearer's token; None: no token is right.
        secret: for signatures; None: no signature is right.
    """
    token = token_of(headers, header)
    by_token = hmac.compare_digest(hashed(token), secret_hash or hashed(new_secret())) and bool(token)
    wanted = hmac.digest(secret or new_secret().encode(), body, "sha256")
    signature = signature_of(headers, header)
    by_signature = hmac.compare_digest(wanted, signature or _NOTHING) and signature is not None
    if auth == BEARER:
        return by_token and secret_hash is not None
    return by_signature and secret is not None
