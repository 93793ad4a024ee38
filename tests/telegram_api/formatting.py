"""[Formatting options, HTML style], read strictly."""

import html
import re
from typing import Any

from .rules import bad_request, units

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)((?:\s+[A-Za-z-]+(?:=\"[^\"<>]*\")?)*)\s*>")
_ATTRIBUTE = re.compile(r"([A-Za-z-]+)(?:=\"([^\"]*)\")?")
# "The API currently supports only the following named HTML entities: &lt;, &gt;, &amp; and &quot;."
# "All numerical HTML entities are supported."
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#\d+|#x[0-9A-Fa-f]+);")
# "Only the tags mentioned above are currently supported."
_KINDS = {
    **dict.fromkeys(("b", "strong"), "bold"),
    **dict.fromkeys(("i", "em"), "italic"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "strike", "del"), "strikethrough"),
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "a": "text_link",
    "tg-emoji": "custom_emoji",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
}


def parsed(text: str, mode: str | None) -> tuple[str, list[dict[str, Any]]]:
    """Return what is read of a text, and its entities.

    Raises:
        ApiError: it does not keep the rules.
    """
    if not mode:
        return text, []
    if mode.upper() != "HTML":
        raise bad_request("unsupported parse_mode")
    return _html(text)


def _html(source: str) -> tuple[str, list[dict[str, Any]]]:
    said = ""
    entities: list[dict[str, Any]] = []
    opened: list[tuple[str, dict[str, Any]]] = []
    at = 0
    while at < len(source):
        character = source[at]
        if character == "<":
            found = _TAG.match(source, at)
            if found is None:
                raise _unreadable(f"Unsupported start tag at byte offset {_bytes(source, at)}")
            at = found.end()
            name = found[2].lower()
            if found[1]:
                if not opened or opened[-1][0] != name:
                    raise _unreadable(f"Unexpected end tag at byte offset {_bytes(source, found.start())}")
                _, entity = opened.pop()
                entity["length"] = units(said) - entity["offset"]
                continue
            entity = _entity(name, found[3], [one for _, one in opened])
            entity["offset"] = units(said)
            opened.append((name, entity))
            entities.append(entity)
            continue
        if character == ">":
            # "All <, > and & symbols that are not a part of a tag or an HTML entity must be replaced with the
            # corresponding HTML entities".
            raise _unreadable(f"Unescaped > at byte offset {_bytes(source, at)}")
        if character == "&":
            reference = _ENTITY.match(source, at)
            if reference is None:
                raise _unreadable(f"Unescaped & at byte offset {_bytes(source, at)}")
            said += html.unescape(reference.group())
            at = reference.end()
            continue
        said += character
        at += 1
    if opened:
        raise _unreadable(f'Can\'t find end tag corresponding to start tag "{opened[-1][0]}"')
    return said, [entity for entity in entities if entity["length"]]


def _entity(name: str, attributes: str, around: list[dict[str, Any]]) -> dict[str, Any]:
    if name not in _KINDS:
        raise _unreadable(f'Unsupported start tag "{name}"')
    given = {key.lower(): html.unescape(value or "") for key, value in _ATTRIBUTE.findall(attributes)}
    allowed = {
        "a": {"href"},
        "code": {"class"},
        "span": {"class"},
        "blockquote": {"expandable"},
        "tg-emoji": {"emoji-id"},
    }
    if not set(given) <= allowed.get(name, set()):
        raise _unreadable(f'Unsupported attribute of the tag "{name}"')
    kinds = {one["type"] for one in around}
    if name == "code" and "class" in given:
        # "Programming language can't be specified for standalone code tags": it belongs in a pre.
        if not around or around[-1]["type"] != "pre" or not given["class"].startswith("language-"):
            raise _unreadable('a language is given in <pre><code class="language-…"> only')
        around[-1]["language"] = given["class"].removeprefix("language-")
        return {"type": "pre-language", "length": 0}
    # "pre and code entities can't contain any other entities" and "can't be part of" them.
    if kinds & {"pre", "code"}:
        raise _unreadable("pre and code entities can't contain other entities")
    # "blockquote and expandable_blockquote entities can't be nested."
    if name == "blockquote" and "blockquote" in kinds:
        raise _unreadable("blockquote entities can't be nested")
    entity: dict[str, Any] = {"type": _KINDS[name], "length": 0}
    if name == "a":
        entity["url"] = given.get("href", "")
    return entity


def _unreadable(problem: str) -> Exception:
    return bad_request(f"can't parse entities: {problem}")


def _bytes(source: str, at: int) -> int:
    return len(source[:at].encode(errors="surrogatepass"))
