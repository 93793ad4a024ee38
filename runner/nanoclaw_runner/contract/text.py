"""Text that came as JSON, fit for UTF-8."""


def storable(text: str) -> str:
    r"""Return a text with its lone surrogates replaced: JSON can spell them (``"\ud800"``), UTF-8 cannot hold them."""
    return text.encode(errors="replace").decode()
