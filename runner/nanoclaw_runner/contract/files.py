"""Files that go with messages: their bounds, and which names they may have."""

MAX_FILES = 10
MAX_BYTES = 50 * 1024 * 1024
"""Of all files of one message together."""

MAX_NAME_BYTES = 255
"""A file system's own bound."""


def check_name(name: str) -> None:
    """Check that a name is one of a file in a flat directory, and can be shown.

    Raises:
        ValueError: it is not.
    """
    if name in ("", ".", "..") or "/" in name or len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        raise ValueError("a file's name is a plain name, without a directory")
    if not name.isprintable():
        raise ValueError("a file's name has characters that can't be shown")
