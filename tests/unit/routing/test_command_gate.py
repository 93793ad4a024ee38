"""The command gate: every spelling of a command is that command, and everything else is a text."""

import string
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nanoclawd.routing.commands import COMMANDS, check, parse, plain
from nanoclawd.routing.decision import Action, Command, CommandClass, Outcome
from nanoclawd.store.roles import Standing

OWNER = Standing("x:1", is_owner=True)
GLOBAL_ADMIN = Standing("x:1", is_global_admin=True)
ADMIN = Standing("x:1", admin_of=frozenset({"ag-1"}))
OTHER_ADMIN = Standing("x:1", admin_of=frozenset({"ag-2"}))
MEMBER = Standing("x:1", member_of=frozenset({"ag-1"}))
STRANGER = Standing("x:1")
NOBODY = Standing(None)

INVISIBLE = ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u200e", "\u200f", "\u202e", "\u2066", "\u00ad", "\0"]
INVISIBLE += ["\u034f", "\u115f", "\u3164", "\ufe0f", "\U000e0001", "\U000e0101", "\x7f", "\x1b", "\ue000", "\ud800"]
SPACES = [" ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028"]


def name_of(text: str) -> str | None:
    found = parse(text)
    return None if found is None else found.name


@pytest.mark.parametrize(
    "text",
    [
        "/clear",
        "/CLEAR",
        " /clear ",
        "\t/Clear\n",
        "/clear now, please",
        "/clear@my_bot",
        "/clear@my_bot now",
        "/clear\tnow",
        "/clear\nnow",
        "/cl\u200bear",
        "\u200b/clear",
        "\u200b \u200b /clear",
        "\u202e/clear",
        "／ｃｌｅａｒ",  # noqa: RUF001  # full width is the point
        "/\u212alear".replace("\u212a", "c"),
        "/cle\u00adar",
        "/c\u3164lear",
        "/clear\0",
        "/" + "\u200b" * 5000 + "clear",
        "\u200b " * 2000 + "/clear",
    ],
)
def test_a_command_in_any_spelling(text: str):
    """F-198, W-4: no spelling gets around the gate."""
    assert name_of(text) == "clear"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "/",
        "//clear",
        "clear",
        "say /clear",
        "/clearall",
        "/clear,",
        "/clear/x",
        "\\clear",
        "/foo",
        "/claire",
        "@bot",
        "\u200b",
        "/cléar",
        "/ clear",
        "/@bot",
        "/clear-all",
        "https://example.org/clear",
    ],
)
def test_what_is_no_command(text: str):
    """F-197: other slash texts are texts."""
    assert parse(text) is None


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.data(),
)
def test_no_spelling_gets_around(name: str, data: st.DataObject):
    """Case, width, invisible characters anywhere, white space and a bot's name around."""
    invisible = st.lists(st.sampled_from(INVISIBLE), max_size=3).map("".join)
    spelled = data.draw(st.lists(st.sampled_from(SPACES), max_size=3).map("".join))
    for char in f"/{name}":
        forms = [char, char.upper()]
        if char in string.ascii_lowercase + "/-":
            forms += [chr(ord(char) + 0xFEE0), chr(ord(char.upper()) + 0xFEE0)]
        spelled += data.draw(invisible) + data.draw(st.sampled_from(forms)) + data.draw(invisible)
    spelled += data.draw(st.sampled_from(["", "@bot", "@Some_Bot"]))
    spelled += data.draw(st.sampled_from(["", *(f"{space}what follows" for space in SPACES)]))
    found = parse(spelled)
    assert found is not None, ascii(spelled)
    assert found.name == ("help" if name == "start" else name)
    assert found.kind is COMMANDS[name]
    assert found.arguments in {"", "what follows"}


@given(st.text(max_size=300))
def test_any_text_is_a_command_or_none(text: str):
    found = parse(text)
    if found is not None:
        assert found.name in COMMANDS
        assert text.strip().endswith(found.arguments)
        # Whatever else it may be: what a person sees begins with a slash and the command's letters.
        shown = unicodedata.normalize("NFKC", text).casefold()
        assert "/" in shown


@given(st.text(alphabet=st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=20))
def test_a_word_has_one_plain_form(word: str):
    assert plain(plain(word)) == plain(word)


@given(st.text(max_size=40))
def test_a_text_without_a_slash_first_is_never_a_command(text: str):
    assume(not any(unicodedata.normalize("NFKC", char).startswith("/") for char in text))
    assert parse(text) is None


def test_arguments_are_the_persons_own():
    assert parse("/clear  all\nof it ") == Command("clear", "all\nof it", CommandClass.ADMIN)


def test_a_huge_word_is_no_stall():
    assert parse("/" + "x" * 200_000) is None
    assert parse("\u200b" * 200_000) is None
    assert parse(("\u200b" * 50 + " ") * 4000 + "/clear") is not None


@pytest.mark.parametrize("name", ["clear", "compact", "context", "cost", "files"])
def test_admin_commands(name: str):
    """F-194, F-196, F-199: owner, global admin and this group's admin; nobody else, also not another group's admin,
    and nobody where nobody is known."""
    command = parse(f"/{name}")
    assert command is not None
    for standing in (OWNER, GLOBAL_ADMIN, ADMIN):
        gate = check(command, standing, "ag-1", "main", with_others=True)
        assert (gate.action, gate.reply) == (Action.COMMAND, "")
    for standing in (OTHER_ADMIN, MEMBER, STRANGER, NOBODY):
        gate = check(command, standing, "ag-1", "main", with_others=False)
        assert gate.action is Action.REPLY
        assert gate.step.outcome is Outcome.STOP
        assert f"/{name}" in gate.reply
        assert "admin of main" in gate.reply


@pytest.mark.parametrize("name", ["login", "logout", "doctor", "config", "remote-control"])
def test_filtered_commands(name: str):
    """F-193: any case, with arguments, reach nobody; unlike the reference, the person is told."""
    for text in (f"/{name}", f"/{name.upper()} now", f" /{name}@bot x"):
        command = parse(text)
        assert command is not None
        gate = check(command, OWNER, "ag-1", "main", with_others=True)
        assert gate.action is Action.REPLY
        assert gate.reply == f"`/{name}` is not available in chats. /help shows what is."


@pytest.mark.parametrize("name", ["help", "start", "whoami", "status"])
def test_open_commands(name: str):
    command = parse(f"/{name}")
    assert command is not None
    gate = check(command, NOBODY, "ag-1", "main", with_others=True)
    assert (gate.action, gate.step.outcome, gate.reply) == (Action.REPLY, Outcome.PASS, "")


def test_stop_takes_somebody_known():
    """In a group; in a chat of two everything is theirs."""
    command = parse("/stop")
    assert command is not None
    assert check(command, MEMBER, "ag-1", "main", with_others=True).action is Action.STOP_TURN
    assert check(command, STRANGER, "ag-1", "main", with_others=False).action is Action.STOP_TURN
    gate = check(command, STRANGER, "ag-1", "main", with_others=True)
    assert gate.action is Action.REPLY
    assert "member of main" in gate.reply


def test_every_command_has_a_class():
    assert set(COMMANDS.values()) == set(CommandClass)
