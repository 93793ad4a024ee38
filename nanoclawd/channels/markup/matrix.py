"""Writes a document as ``org.matrix.custom.html``, and takes out of foreign HTML what that does not allow."""

from collections.abc import Sequence
from typing import Final

import nh3

from nanoclawd.channels.markup.document import (
    Block,
    Code,
    Document,
    Heading,
    Item,
    Listing,
    Mark,
    Paragraph,
    Quote,
    Rule,
    Run,
    Runs,
    Table,
)
from nanoclawd.channels.markup.tags import Tag, attribute, language, tagged

_NAMES: Final = """a b blockquote br caption code del div em h1 h2 h3 h4 h5 h6 hr i li ol p pre s span strong sub sup
table tbody td th thead tr u ul"""
TAGS: Final = frozenset(_NAMES.split())
"""The specification's list (Client-Server API, m.room.message msgtypes) without pictures and what only folds."""

_ATTRIBUTES: Final[dict[str, set[str]]] = {"*": set(), "a": {"href"}, "code": {"class"}, "ol": {"start"}}
_SCHEMES: Final = {"https", "http", "ftp", "mailto", "magnet", "matrix", "xmpp", "tel"}
_DROPPED_WHOLE: Final = {"script", "style", "mx-reply"}
_MARK_TAGS: Final = ((Mark.BOLD, "strong"), (Mark.ITALIC, "em"), (Mark.STRUCK, "del"), (Mark.CODE, "code"))


def to_matrix(document: Document) -> str:
    """Return a document as a ``formatted_body``."""
    return sanitised("".join(map(_block, document)))


def sanitised(html: str) -> str:
    """Return HTML with nothing in it but what the specification allows; of other tags the text stays."""
    return nh3.clean(
        html,
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        url_schemes=set(_SCHEMES),
        clean_content_tags=set(_DROPPED_WHOLE),
        strip_comments=True,
        link_rel=None,
    )


def _block(block: Block) -> str:
    match block:
        case Paragraph(runs):
            return f"<p>{_inline(runs)}</p>"
        case Heading(runs, level):
            return f"<h{level}>{_inline(runs)}</h{level}>"
        case Code(text, info):
            named = language(info)
            about = attribute("class", f"language-{named}") if named else ""
            return f"<pre><code{about}>{_inline((Run(text),), line_end='\n')}\n</code></pre>"
        case Quote(blocks):
            return f"<blockquote>{''.join(map(_block, blocks))}</blockquote>"
        case Listing():
            return _listing(block)
        case Table(header, rows):
            body = "".join(map(_row, rows))
            return f"<table><thead>{_row(header, 'th')}</thead>{f'<tbody>{body}</tbody>' if body else ''}</table>"
        case Rule():
            return "<hr>"


def _listing(listing: Listing) -> str:
    """Return a list; what continues an item of an earlier message stands before it, as it has no bullet."""
    continued = [item for item in listing.items if item.is_continued]
    items = [item for item in listing.items if not item.is_continued]
    written = "".join(_block(block) for item in continued for block in item.blocks)
    if not items:
        return written
    first = items[0].number
    name = "ul" if first is None else "ol"
    start = attribute("start", str(first)) if first not in {None, 1} else ""
    return f"{written}<{name}{start}>{''.join(_item(item, is_tight=listing.is_tight) for item in items)}</{name}>"


def _item(item: Item, *, is_tight: bool) -> str:
    parts = [
        _inline(block.runs) if is_tight and isinstance(block, Paragraph) else _block(block) for block in item.blocks
    ]
    return f"<li>{''.join(parts)}</li>"


def _row(cells: Sequence[Runs], name: str = "td") -> str:
    return f"<tr>{''.join(f'<{name}>{_inline(cell)}</{name}>' for cell in cells)}</tr>"


def _inline(runs: Runs, line_end: str = "<br>") -> str:
    return tagged((run.text, _tags(run)) for run in runs).replace("\n", line_end)


def _tags(run: Run) -> list[Tag]:
    tags: list[Tag] = [("a", attribute("href", run.link), None)] if run.link is not None else []
    tags.extend((name, "", None) for mark, name in _MARK_TAGS if mark in run.marks)
    return tags
