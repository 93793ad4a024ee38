"""Readers of messages: cards, agents' rows, kept events, decisions, commands, patterns, and what is shown of them."""

import json
import re
import time

import apsw

from fuzz.shaped import Shaped
from nanoclaw_runner.contract import cards
from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, Address, OutboundRow
from nanoclawd.cli.clean import clean, clean_line
from nanoclawd.config import Access
from nanoclawd.errors import InvalidName, TooLarge
from nanoclawd.journal import printable
from nanoclawd.permissions import kept
from nanoclawd.routing import answers, commands
from nanoclawd.routing.cleaning import cleaned, unusable
from nanoclawd.routing.decision import Action
from nanoclawd.routing.engage import Match, Patterns, check_pattern
from nanoclawd.routing.event import InboundEvent, Quote, Sender
from nanoclawd.routing.facts import load
from nanoclawd.routing.pipeline import decide
from nanoclawd.sessions import bodies
from nanoclawd.store import agent_groups, chats, roles
from unit.store.store_memory import fresh

LONGEST_SECONDS = 5.0
"""For anything that is bounded to a tenth of a second: the machine is shared, and its memory watched."""

_ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)
_SHAPELESS = ("\u200b", "\u00ad", "\u202e", "\0", "\ue000", "\ufe0f", "\u115f", "\U000e0041", "\ud800")
_patterns = Patterns()


def card(data: bytes) -> None:
    """A card's row: a card that can be shown and answered on every channel, or a refusal in words."""
    content = data.decode("utf-8", "surrogatepass" if data[:1] != b"\xed" else "replace") if _is_text(data) else "\0"
    try:
        found = cards.from_content(content)
    except ValueError as error:
        _is_for_people(str(error))
        return
    assert cards.from_content(cards.to_content(found)) == found
    cards.as_text(found, tag="k3f9").encode()
    for number, option in enumerate(found.options, start=1):
        assert cards.chosen(f" {number}. ", found.options) is option
        assert found.option(option.value) is option
    assert cards.chosen("", found.options) is None
    open_card = answers.OpenCard("question", "k3f9aaaaaaaa", found.options)
    assert answers.find("k3f9 1", [open_card]) is not None


def shaped_card(data: bytes) -> None:
    """The same with the right names."""
    shaped = Shaped(data)
    found = shaped.fields(("title", "text", "reference"), right=0.95)
    found["options"] = [
        shaped.text() if shaped.flag() else shaped.fields(("label", "value", "done"), right=0.95)
        for _ in range(shaped.below(12))
    ]
    card(json.dumps(found).encode())


def body(data: bytes) -> None:
    """A row of an agent: a meaning, or a refusal in words."""
    content = data[1:].decode("utf-8", "replace")
    kind = ("chat", "card", "system")[data[0] % 3] if data else "chat"
    _body(kind, content)


def shaped_body(data: bytes) -> None:
    """The same with the right names."""
    shaped = Shaped(data)
    found = shaped.fields(("text", "messageId", "emoji"), right=0.8)
    if shaped.flag():
        found["operation"] = shaped.choice(("edit", "reaction", None, "delete", 1))
    if shaped.flag():
        found["files"] = [shaped.text() for _ in range(shaped.below(13))]
    _body("chat", json.dumps(found))


def _body(kind: str, content: str) -> None:
    try:
        meaning = bodies.read(OutboundRow("out-1", 1, kind, "2026-01-01T00:00:00.000Z", content))
    except ValueError as error:
        _is_for_people(str(error))
        return
    match meaning:
        case bodies.Words(text, files):
            text.encode()
            assert text.strip() or files
            assert all("/" not in name and name.isprintable() and name not in ("", ".", "..") for name in files)
        case bodies.Change(target, text, emoji):
            f"{target}{text}{emoji}".encode()
            assert (text is None) != (emoji is None)
        case _:
            pass


def event(data: bytes) -> None:
    """A channel's event: kept and read again it is the same; a decision about it has a reason."""
    shaped = Shaped(data)
    made = InboundEvent(
        address=Address(
            "loop", shaped.choice(("team", "club")) if shaped.flag() else shaped.text(), shaped.maybe_text()
        ),
        message_id=shaped.text(),
        text=shaped.text(),
        sender=Sender(f"loopback:{shaped.text()}" if shaped.flag() else None, shaped.text()),
        is_mention=shaped.flag(),
        is_group=shaped.flag(),
        chat_name=shaped.maybe_text(),
        timestamp=shaped.maybe_text(),
        quote=Quote(shaped.text(), shaped.text(), shaped.maybe_text()) if shaped.flag() else None,
    )
    try:
        clean_event, notes = cleaned(made)
    except (TooLarge, InvalidName) as error:
        _is_for_people(error.message)
        return
    if unusable(clean_event.address) is not None:
        return
    row = {"text": clean_event.text, "sender": clean_event.sender.name, "senderId": clean_event.sender.user_id}
    quote = clean_event.quote
    if quote is not None:
        row["replyTo"] = {"text": quote.text, "sender": quote.sender, "id": quote.message_id}
    assert len(json.dumps(row, ensure_ascii=False).encode()) <= MAX_CONTENT_BYTES
    payload = kept.keep({}, clean_event)
    if payload is not None:
        stored = json.loads(json.dumps(payload, ensure_ascii=False).encode())
        assert kept.events(stored) == [clean_event]
        assert kept.keep(stored, clean_event) is None
    facts = load(_CONNECTION, clean_event, shaped.flag(), shaped.flag(), Access(), intercept=True)
    decided = decide(clean_event, facts, _patterns)
    assert isinstance(decided.action, Action)
    for one in (decided, *decided.wirings):
        assert one.deciding.reason
    assert all(note.reason for note in notes)


def command(data: bytes) -> None:
    """A text: a command that there is, or none; and no spelling of one gets past the gate."""
    text = data.decode("utf-8", "surrogateescape")
    found = commands.parse(text)
    assert found is None or found.name in commands.COMMANDS
    shaped = Shaped(data)
    name = shaped.choice(sorted(commands.COMMANDS))
    spelled = ""
    for letter in f"/{name}":
        kind = shaped.byte()
        spelled += shaped.choice(_SHAPELESS) if kind & 1 else ""
        cased = letter.upper() if kind & 2 else letter
        spelled += chr(ord(cased) + 0xFEE0) if kind & 4 else cased
    spelled = "\u200b \n"[shaped.below(3) :] + spelled + shaped.choice(("", "@bot", " now", "\u00a0x", "@", "\u200b"))
    hit = commands.parse(spelled)
    assert hit is not None, spelled
    assert commands.COMMANDS[hit.name] is commands.COMMANDS[name]


def pattern(data: bytes) -> None:
    """An engage pattern of anybody, and a text for it: refused, or matched within its bounds."""
    said, _, text = data.decode("utf-8", "replace").partition("\n\n")
    began = time.monotonic()
    try:
        check_pattern(said)
    except InvalidName:
        assert _patterns.match(said, text) is Match.INVALID
    else:
        _patterns.match(said, text * 200)
    assert time.monotonic() - began < LONGEST_SECONDS


def shown(data: bytes) -> None:
    """Any text on a terminal or in the journal: nothing in it acts."""
    text = data.decode("utf-8", "surrogateescape") + Shaped(data).text()
    cleaned_text = clean(text)
    assert not _ACTS.search(cleaned_text)
    assert clean(cleaned_text) == cleaned_text
    for line in (clean_line(text), printable(text)):
        assert not _ACTS.search(line)
        assert "\n" not in line
        line.encode()


def _is_for_people(reason: str) -> None:
    assert reason
    assert reason.isprintable()


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _furnished() -> apsw.Connection:
    connection = fresh()
    roles.grant(connection, "loopback:owner", "owner")
    group = agent_groups.create(connection, "main")
    rules = {"team": ("public", "pattern", "[a-z]|^$"), "club": ("request_approval", "mention-sticky", None)}
    for place, (policy, mode, text) in rules.items():
        chat = chats.create(connection, "loop", place, place.title(), True, policy)
        chats.wire(connection, chat.id, group.id, engage_mode=mode, engage_pattern=text)
    return connection


_CONNECTION = _furnished()
