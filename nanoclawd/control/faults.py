"""What a caller is told of a method that raised."""

import logging
import secrets

from nanoclawd.control.calls import Call, encode_error
from nanoclawd.control.introspection import Introspection
from nanoclawd.errors import NanoclawError

log = logging.getLogger(__name__)


def told(introspection: Introspection, call: Call, error: Exception) -> bytes:
    """Return the error's frame; a fault of ours goes to the journal under a reference, and only that is told."""
    if isinstance(error, NanoclawError):
        known = introspection.errors_of(call.interface)
        code = error.code if error.code in known else "Failed"
        return encode_error(f"{call.interface}.{code}", message=error.message, hint=error.hint)
    reference = secrets.token_hex(6)
    log.error(
        "control call %s failed, reference %s: %s",
        call.method,
        reference,
        error,
        exc_info=error,
        extra={"NANOCLAW_REFERENCE": reference},
    )
    return encode_error(
        f"{call.interface}.Internal",
        message=f"a fault in {introspection.product}, reference {reference}",
        hint=f"journalctl -u {introspection.product} NANOCLAW_REFERENCE={reference}",
        reference=reference,
    )
