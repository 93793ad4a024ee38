"""Cards wherever they are shown: agents' questions and approvals, answered by buttons, numbers, words and at terminals.

Whatever the daemon goes through between the card and the choice, the choice counts once.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventually import wait_until
from system.appliance import Person, call, configured, kill_daemon, restart_daemon, run
from system.loopback import Account, Delivery
from system.town import Town, answers, no_owner, tag_of

ASKED = "Somebody has to allow this first; I have asked."
QUESTION = {"title": "Open the sluice?", "text": "The basin is full.", "options": ["Open", "Wait"], "reference": "s-1"}
TOLD = 'echo: [system] the answer to your question "Open the sluice?": '


def has_asked(town: Town, account: Account, chat: str, *, by: str = "member", after: int = 0) -> Delivery:
    """The agent asks the people of a chat."""
    town.say(account, chat, f"!card {json.dumps(QUESTION)}", by=by)
    return account.wait(
        lambda one: one.chat == chat and one.kind in ("card", "text") and "sluice" in f"{one.title}{one.text}",
        "the question",
        after=after,
    )


def told(account: Account, chat: str) -> list[str]:
    """Return what the agent was told of its questions, as it says itself."""
    return [text for text in account.texts(chat) if "the answer to your question" in text]


def test_words_answer_the_card_that_they_mean(town: Town) -> None:
    """W-53: one open card takes a number or a label, of several one is named by its tag; the rest is talk."""
    town.grant("owner")
    town.only_on(town.plain, "owner")
    owners, chat = town.handle("owner"), town.chat(town.loop)
    town.chat(town.plain, room=owners)
    cards = []
    for stranger in ("ann", "bob", "cid"):
        town.say(town.loop, chat, f"{stranger} was here", by=stranger)
        cards.append(town.plain.hears(owners, f"May {stranger.title()} talk"))
        town.gets_asked(user=town.user(stranger), card="delivered")
    tags = [tag_of(card) for card in cards]
    for text in ("7", "allow it", "what is this?"):
        town.say(town.plain, owners, text, by="owner")
        town.plain.hears(owners, f"echo: {text}")
    town.say(town.plain, owners, "1", by="owner")
    back = town.plain.hears(owners, "Several questions are open")
    assert all(tag in back.text for tag in tags)
    assert answers(town.plain, owners, "1") == 0
    first = town.say(town.plain, owners, f"{tags[1].upper()}  2.", by="owner")
    town.plain.hears(owners, "Denied by Owner.")
    town.say(town.plain, owners, f"{tags[2]} DENY and don't ask AGAIN", by="owner")
    town.plain.hears(owners, "Denied for good by Owner.")
    town.say(town.plain, owners, f"{tags[1]} 2", by="owner", message_id=first)  # told again: it means no other card
    assert town.approval(status="pending")["user"] == town.user("ann")
    town.say(town.plain, owners, " Allow ", by="owner")
    town.plain.hears(owners, "Allowed by Owner: Ann may talk to")
    town.loop.hears(chat, "echo: ann was here")
    decided = {one["user"]: one["decision"] for one in town.asked()}
    choices = {"ann": "allow", "bob": "deny", "cid": "deny-always"}
    assert decided == {town.user(who): choice for who, choice in choices.items()}
    town.say(town.plain, owners, "1", by="owner")  # nothing is open any more
    town.plain.hears(owners, "echo: 1")


@pytest.mark.parametrize("interrupt", [restart_daemon, kill_daemon])
@pytest.mark.parametrize("channel", ["loop", "plain"])
def test_an_agents_question_survives_the_daemon(town: Town, channel: str, interrupt: Callable[[], None]) -> None:
    """W-60: answered once, by somebody whom the agent knows, whenever the daemon dies."""
    account = town.loop if channel == "loop" else town.plain
    town.join("member")
    chat = town.chat(account)
    asked = has_asked(town, account, chat)
    interrupt()
    if channel == "loop":
        assert town.click(asked, "Open", by="somebody") == "You may not answer this: the agent doesn't know you."
        with ThreadPoolExecutor(1) as hand:
            clicked = hand.submit(town.click, asked, 1, by="member")
            interrupt()
            assert clicked.result() in (
                "Open.",
                "This question is not open any more.",
                "This card is not open any more.",
            )
        assert "not open any more" in town.click(asked, "Wait", by="member")
        wait_until(lambda: any("→ Open (" in text for text in account.texts(chat)), "the answer is in the card's place")
    else:
        message = town.say(account, chat, "1", by="member", wait=False)
        interrupt()
        account.all_acknowledged()
        town.say(account, chat, "1", by="member", message_id=message)
        account.hears(chat, "Open.")
    account.hears(chat, f"{TOLD}Open (reference s-1")
    town.say(account, chat, "and now?", by="member")
    account.hears(chat, "echo: and now?")
    assert len(told(account, chat)) == 1
    assert answers(account, chat, "1") == 0
    assert call("Questions.List", group=town.group)["questions"] == []


def test_a_strangers_number_is_no_answer(town: Town) -> None:
    """In a chat without buttons, where the agent knows only some: the stranger is asked about, the card stays open."""
    town.grant("owner")
    town.only_on(town.loop, "owner")
    town.join("member")
    chat = town.chat(town.plain, is_group=True)
    town.say(town.plain, chat, f"!card {json.dumps(QUESTION)}", by="member", group=True)
    town.plain.hears(chat, "1. Open")
    town.say(town.plain, chat, "1", by="stranger", group=True)
    town.plain.hears(chat, ASKED)
    assert len(call("Questions.List", group=town.group)["questions"]) == 1
    town.say(town.plain, chat, "wait", by="member", group=True)
    town.plain.hears(chat, f"{TOLD}Wait")
    town.click(town.card("owner"), "Allow", by="owner")
    town.plain.hears(chat, "echo: 1")  # it is what it was: a message
    assert len(told(town.plain, chat)) == 1


def test_a_question_and_an_approval_in_one_chat(town: Town) -> None:
    """Both wait for a number: the tag says which; neither takes the other's."""
    town.grant("owner")
    town.only_on(town.plain, "owner")
    owners, chat = town.handle("owner"), town.chat(town.loop)
    town.chat(town.plain, room=owners)
    question = has_asked(town, town.plain, owners, by="owner")
    town.say(town.loop, chat, "knock", by="stranger")
    approval = town.plain.hears(owners, "May Stranger talk")
    town.gets_asked(card="delivered")
    town.say(town.plain, owners, "2", by="owner")
    town.plain.hears(owners, "Several questions are open")
    town.say(town.plain, owners, "wait", by="owner")  # a label of one of the two is not enough either
    town.plain.wait(
        lambda one: one.at > approval.at and one.text.count(tag_of(question)) == 2, "it is asked back again"
    )
    town.say(town.plain, owners, f"{tag_of(approval)} 1", by="owner")
    town.loop.hears(chat, "echo: knock")
    town.say(town.plain, owners, "2", by="owner")
    town.plain.hears(owners, f"{TOLD}Wait")


def test_an_operator_answers_and_nobody_does(town: Town) -> None:
    """By `ncl`; and a question that nobody answers is told to the agent as such."""
    with configured(access={"approval_hours": 0.001}):
        town.join("member")
        chat = town.chat(town.loop)
        has_asked(town, town.loop, chat)
        (question,) = call("Questions.List", group=town.group)["questions"]
        run("ncl", "questions", "answer", question["id"], "Wait")
        town.loop.hears(chat, f"{TOLD}Wait")
        before = len(town.loop.deliveries)
        has_asked(town, town.loop, chat, after=before)
        town.loop.hears(chat, "nobody has answered your question", after=before)
        wait_until(lambda: "→ Nobody answered in time." in "\n".join(town.loop.texts(chat)), "the card tells it")


@pytest.mark.parametrize("interrupt", [restart_daemon, kill_daemon])
def test_an_agents_request_is_done_once_when_the_owner_allows_it(town: Town, interrupt: Callable[[], None]) -> None:
    """The card says all of it; the daemon dies before, between and after; the agent is told once."""
    town.grant("owner")
    chat = town.chat(town.loop, policy="public")
    town.say(town.loop, chat, f"!ncl groups update {town.group} --instructions 'Mind the gap'", by="guest")
    town.loop.hears(chat, "somebody has to allow this first")
    card = town.card("owner")
    for words in (f"ncl groups update {town.group} --instructions 'Mind the gap'", "io.nanoclaw.Groups.Update"):
        assert words in card.text
    interrupt()
    assert "You may not decide this" in town.click(card, "Allow", by="guest")
    with ThreadPoolExecutor(1) as hand:
        clicked = hand.submit(town.click, card, "Allow", by="owner")
        interrupt()
        assert clicked.result() in ("You have allowed this already.", f"Allowed by {town.handle('owner')}.")
    interrupt()
    # Where the daemon died while it was done, the agent is told that, too, and nothing is done twice.
    said = town.loop.wait(
        lambda one: one.text.startswith(("echo: [system] Done: ncl", "echo: [system] Allowed, but")), "the outcome"
    )
    if "Done:" in said.text:
        assert call("Groups.Get", name=town.group)["group"]["instructions"] == "Mind the gap"
    town.say(town.loop, chat, "fine", by="guest")
    town.loop.hears(chat, "echo: fine")
    assert "\n".join(town.loop.texts(chat)).count("[system] ") == 1


def test_the_first_person_claims_the_appliance_and_decides_at_the_terminal(town: Town) -> None:
    """`ncl setup` makes the caller the owner; what waited for one is on all of their screens, and takes a number."""
    chat = town.chat(town.loop)
    with no_owner(), Person(town.group) as one:
        town.say(town.loop, chat, "is anybody in charge?", by="stranger")
        town.loop.hears(chat, ASKED)
        assert town.approval()["card"] == "none"
        assert call("Roles.Claim")["role"] == call("Roles.List", user="terminal:root")["roles"][0]
        assert call("Roles.Claim")["role"] is None
        shown = one.wait(lambda event: "May Stranger talk to" in event.text, "the card")
        assert "1. Allow" in shown.text
        call("Groups.Create", name=f"second-{town.tag}", provider="scripted")
        restart_daemon()
        with Person(f"second-{town.tag}") as other:
            town.say(town.loop, chat, "hello?", by="another")
            for screen in (one, other):
                screen.wait(lambda event: "May Another talk to" in event.text, "the card")
            town.gets_asked(user=town.user("another"), card="delivered")
            tags = {asked["user"]: asked["id"][:4] for asked in town.asked(status="pending")}
            assert "Several questions are open" in other.ask("1").text
            said = other.ask(f"{tags[town.user('stranger')]} 1")
            assert said.text == f"Allowed by root: Stranger may talk to {town.group} from now on."
            town.loop.hears(chat, "echo: is anybody in charge?")
            assert one.ask("deny").text == "Denied by root."
            assert one.ask("2").text == "echo: 2"
        assert [town.approval(user=town.user(who))["decided_by"] for who in ("stranger", "another")] == [
            *("terminal:root", "terminal:root")
        ]
        assert answers(town.loop, chat, "is anybody in charge?") == 1


def test_a_terminal_that_nobody_looks_at_shows_the_card_later(town: Town) -> None:
    """The owner has no screen open: the card waits, is seen by `ncl approvals`, and is there with the first screen."""
    chat = town.chat(town.loop)
    with no_owner():
        call("Roles.Claim")
        town.say(town.loop, chat, "hello", by="stranger")
        waiting = town.gets_asked(card="waiting", asked="terminal:root")
        assert waiting["problem"] is not None
        kill_daemon()
        with Person(town.group) as owner:
            owner.wait(lambda event: "May Stranger talk to" in event.text, "the card")
            town.gets_asked(card="delivered")
            assert owner.ask("1").state == "completed"
            shown = [event.id for event in owner.shown() if "May Stranger talk to" in event.text]
        town.loop.hears(chat, "echo: hello")
        assert len(set(shown)) == 1
