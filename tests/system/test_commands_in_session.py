"""Commands, places, cards and the agent's own ``ncl``, from a person's words to the container and back."""

import json

import pytest

from system import appliance
from system.appliance import call, run, wired
from system.loopback import Account

ADMIN = "alice"
STRANGER = "bob"


@pytest.fixture
def chat(group: str) -> str:
    """A public chat of two or more whose agent hears everything; Alice administers it."""
    call("Roles.Grant", user=f"loopback:{ADMIN}", role="admin", group=group)
    return wired("loop", group)


def test_commands_of_an_admin_act_on_the_session(loop: Account, chat: str) -> None:
    """F-194, F-200: the conversation is forgotten, the word comes, and what follows begins a new one."""
    loop.asks(chat, "!remember blue", "remembered blue", sender=ADMIN)
    loop.asks(chat, "!recall", "recall: blue", sender=ADMIN)
    loop.asks(chat, "/context", "A script remembers one word: blue.", sender=ADMIN)
    loop.asks(chat, "/Clear", "Session cleared.", sender=ADMIN)
    loop.asks(chat, "!recall", "recall: nothing", sender=ADMIN)
    loop.asks(chat, "/cost", "This agent's provider has no /cost.", sender=ADMIN)
    loop.asks(chat, "!write /workspace/note.txt some words", "wrote 10 bytes", sender=ADMIN)
    assert loop.asks(chat, "/files", "Workspace", sender=ADMIN).splitlines() == [
        "Workspace: 3 files",
        "  AGENTS.md (0 B)",
        "  CLAUDE.md (11 B)",
        "  note.txt (10 B)",
        "Received files: nothing",
    ]


def test_a_clear_acts_between_two_messages(loop: Account, chat: str) -> None:
    loop.say(chat, "!remember blue\n!sleep 1.5\n!recall")
    loop.say(chat, "/clear")
    loop.say(chat, "!recall")
    loop.hears(chat, "recall: nothing")
    assert loop.texts(chat) == ["remembered blue\nslept 1.5 s\nrecall: blue", "Session cleared.", "recall: nothing"]


@pytest.mark.parametrize("text", ["/clear", " /CLEAR ", "/clear now", "/cl\u200bear", "\uff0fclear"])
def test_no_spelling_of_a_stranger_clears_the_session(loop: Account, chat: str, text: str) -> None:
    """F-198, W-4: the gate refuses it, and what the runner is handed is never looked at for commands."""
    loop.asks(chat, "!remember blue", "remembered blue", sender=ADMIN)
    loop.asks(chat, text, "You may not use", sender=STRANGER)
    loop.asks(chat, "/clearall", "echo: /clearall", sender=STRANGER)
    loop.asks(chat, "!recall", "recall: blue", sender=STRANGER)


def test_an_agent_of_two_chats_answers_each_in_its_own(loop: Account, group: str) -> None:
    """W-22: one session; who asks elsewhere while it works is next, and its words go nowhere else."""
    one, other = (wired("loop", group, session_mode="agent-shared") for _ in range(2))
    loop.say(one, "!sleep 2")
    loop.sees("progress", one)
    loop.say(other, "meanwhile")
    loop.say(one, "and then")
    loop.hears(one, "echo: and then")
    assert loop.texts(one) == ["slept 2 s", "echo: and then"]
    assert loop.texts(other) == ["echo: meanwhile"]
    heard = [one.text for one in loop.deliveries]
    assert heard.index("echo: meanwhile") < heard.index("echo: and then")
    assert len(call("Sessions.List", group=group)["sessions"]) == 1


def test_what_was_said_before_a_mention_rides_along(loop: Account, group: str) -> None:
    """F-159, F-160: three messages wake nobody; the mention brings them along, in order, once."""
    chat = wired("loop", group, is_group=True, engage_mode="mention", ignored_message_policy="accumulate")
    for number in range(3):
        loop.say(chat, f"chatter {number}", group=True)
    assert call("Sessions.List", group=group)["sessions"][0]["state"] == "asleep"
    loop.say(chat, "what do you think?", group=True, mention=True)
    loop.hears(chat, "what do you think?")
    expected = [*(f"echo: chatter {number}" for number in range(3)), "echo: what do you think?"]
    assert loop.texts(chat) == ["\n".join(expected)]


def test_a_persons_choice_comes_back_to_the_agent(loop: Account, chat: str) -> None:
    card = {"title": "Shall I go?", "options": ["Yes", "No"], "reference": "r-7"}
    before = len(loop.deliveries)
    loop.say(chat, f"!card {json.dumps(card)}")
    shown = loop.gets_card(chat, after=before)
    assert shown.labels == ("Yes", "No")
    loop.click(shown, "Yes", sender=ADMIN)
    answer = loop.hears(chat, "the answer to your question").text
    assert answer.startswith('echo: [system] the answer to your question "Shall I go?": Yes (reference r-7')


def test_an_agents_ncl_prints_what_the_operators_does(loop: Account, chat: str, group: str) -> None:
    """W-34: the same words, its own group only, and a foreign one is as unknown as one that is not there."""
    operators = run("ncl", "groups", "get", group).rstrip("\n")
    assert (
        loop.asks(chat, f"!ncl groups get {group}", "provider", sender=ADMIN).splitlines()[:2]
        == operators.splitlines()[:2]
    )
    with appliance.group() as foreign:
        listed = json.loads(loop.asks(chat, "!ncl groups list --json", "[", sender=ADMIN))
        assert [one["name"] for one in listed] == [group]
        refused = loop.asks(chat, f"!ncl groups get {foreign}", "ncl:", sender=ADMIN)
        unknown = loop.asks(chat, "!ncl groups get nosuchgroup", "ncl:", sender=ADMIN)
        assert refused.replace(foreign, "nosuchgroup") == unknown
        assert "(exit code 1)" in unknown
    assert loop.asks(chat, "!ncl --help", "usage:", sender=ADMIN) == run("ncl", "--help").rstrip("\n")


def test_what_an_agent_may_not_do_alone_is_done_when_somebody_allows_it(loop: Account, chat: str, group: str) -> None:
    loop.asks(
        chat, f"!ncl groups update {group} --instructions Hello", "somebody has to allow this first", sender=ADMIN
    )
    assert call("Groups.Get", name=group)["group"]["instructions"] != "Hello"
    (approval,) = [one for one in call("Approvals.List")["approvals"] if one["group"] == group]
    call("Approvals.Decide", approval=approval["id"], option="allow")
    loop.hears(chat, "echo: [system] Done:")
    assert call("Groups.Get", name=group)["group"]["instructions"] == "Hello"
