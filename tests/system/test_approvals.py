"""Strangers, and those who let them in (acceptance 2): asked, decided once, told to everyone, whatever happens between.

The owner has buttons (``loop``) or writes numbers (``plain``); the stranger is on the same account or on the other.
"""

import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventually import wait_until
from system.appliance import call, configured, daemon_stopped, kill_daemon, restart_daemon, run
from system.loopback import Account, Delivery
from system.town import Town, answers, change, tag_of

ASKED = "Somebody has to allow this first; I have asked."
REFUSED = "You were not let in, so your message was not passed on."
CHOICES = ("Allow", "Deny", "Deny and don't ask again")
STRANGERS = 10
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260301"))


def knock(town: Town, account: Account, chat: str, text: str, *, by: str = "stranger") -> None:
    """A stranger writes, and is told that somebody is asked."""
    town.say(account, chat, text, by=by)
    account.hears(chat, ASKED)


@pytest.mark.parametrize(("owner_on", "stranger_on"), [("loop", "plain"), ("loop", "loop"), ("plain", "loop")])
def test_a_stranger_is_answered_once_when_somebody_allows_it(town: Town, owner_on: str, stranger_on: str) -> None:
    """The card says who, where and what; what was written meanwhile is answered in its order, once."""
    accounts = {"loop": town.loop, "plain": town.plain}
    owners, strangers = accounts[owner_on], accounts[stranger_on]
    town.grant("owner")
    town.only_on(owners, "owner")
    chat = town.chat(strangers)
    knock(town, strangers, chat, "hello there")
    shown = owners.hears(town.handle("owner"), f"May Stranger talk to {town.group}?")
    for words in (f"“Stranger” ({town.user('stranger')})", f"({stranger_on}: {chat})", "> hello there", *CHOICES):
        assert words in shown.text
    town.say(strangers, chat, "are you there?", by="stranger")
    assert town.members() == []
    outcome = f"Stranger may talk to {town.group} from now on."
    if owner_on == "loop":
        assert shown.labels == CHOICES
        assert outcome in town.click(shown, "Allow", by="owner")
        wait_until(lambda: outcome in owners.texts(town.handle("owner"))[0], "the outcome is in the card's place")
    else:
        town.gets_asked(card="delivered")
        town.say(owners, town.handle("owner"), "1", by="owner")
        owners.hears(town.handle("owner"), outcome)
    strangers.hears(chat, "echo: are you there?")
    said = "\n".join(strangers.texts(chat))
    assert said.index("echo: hello there") < said.index("echo: are you there?")
    assert [answers(strangers, chat, text) for text in ("hello there", "are you there?")] == [1, 1]
    assert said.count(ASKED) == 1
    assert town.members() == [town.user("stranger")]
    assert town.approval()["decided_by"] == town.user("owner")
    town.say(strangers, chat, "one of you now", by="stranger")
    strangers.hears(chat, "echo: one of you now")


def test_a_denied_stranger_is_told_and_may_ask_again_until_it_is_for_good(town: Town) -> None:
    """F-152: a deny is remembered if the approver says so, and `ncl users undeny` takes that back."""
    town.grant("owner")
    chat = town.chat(town.plain)
    town.only_on(town.loop, "owner")
    knock(town, town.plain, chat, "please")
    assert "Denied by" in town.click(town.card("owner"), "Deny", by="owner")
    town.plain.hears(chat, REFUSED)
    seen, heard = len(town.loop.deliveries), len(town.plain.deliveries)
    town.say(town.plain, chat, "pretty please", by="stranger")
    town.click(town.card("owner", after=seen), "deny-always", by="owner")
    town.plain.hears(chat, REFUSED, after=heard)
    heard = len(town.plain.deliveries)
    town.say(town.plain, chat, "hello?", by="stranger")
    assert town.asked(status="pending") == []
    (dropped,) = [one for one in call("Routing.Dropped")["dropped"] if one["chat"] == chat]
    assert dropped["reason"] == "sender_denied"
    run("ncl", "users", "undeny", town.user("stranger"))
    seen = len(town.loop.deliveries)
    town.say(town.plain, chat, "third time lucky", by="stranger")
    town.click(town.card("owner", after=seen), "Allow", by="owner")
    town.plain.hears(chat, "echo: third time lucky")
    assert next(one.text for one in town.plain.deliveries[heard:] if one.chat == chat) == ASKED
    assert "please" not in "\n".join(town.plain.texts(chat))
    assert "hello?" not in "\n".join(town.plain.texts(chat))


def test_nobody_without_the_right_changes_a_card(town: Town) -> None:
    """W-59: the right is judged at the click, before anything changes; a double click is one decision."""
    town.grant("owner")
    town.only_on(town.loop, "owner")
    chat = town.chat(town.plain)
    knock(town, town.plain, chat, "let me in")
    card = town.card("owner")
    town.join("member")
    for who in ("stranger", "member", "somebody"):
        assert town.click(card, "Allow", by=who) == "You may not decide this: it takes somebody with the right to it."
    assert town.approval()["status"] == "pending"
    assert [one for one in town.loop.deliveries if one.target == card.message] == []
    with ThreadPoolExecutor(2) as hands:
        words = sorted(hands.map(lambda _: town.click(card, "Allow", by="owner"), range(2)))
    assert words[0].startswith("Allowed by")
    assert words[1] == "You have allowed this already."
    assert town.click(card, "Deny", by="owner") == "You have allowed this already."
    town.plain.hears(chat, "echo: let me in")
    call("Roles.Revoke", user=town.user("owner"), role="owner")
    assert "You may not decide this" in town.click(card, "Deny", by="owner")
    assert answers(town.plain, chat, "let me in") == 1


def test_of_two_who_decide_at_once_one_does(town: Town) -> None:
    """One allows while the other refuses: what happens and what is said is one of the two, for everybody."""
    town.grant("owner")
    town.grant("admin", "admin")
    chat = town.chat(town.plain)
    town.only_on(town.loop, "owner")
    town.only_on(town.loop, "admin")
    for number in range(5):
        stranger = f"stranger{number}"
        town.say(town.plain, chat, f"hello {number}", by=stranger)
        asked = town.gets_asked(user=town.user(stranger))
        # A global admin is asked before an owner.
        card = town.loop.wait(lambda one, wanted=asked["id"]: one.card == wanted, "the card")
        assert card.chat == town.handle("admin")
        with ThreadPoolExecutor(2) as hands:
            owner = hands.submit(town.click, card, "Allow", by="owner")
            admin = hands.submit(town.click, card, "Deny", by="admin")
            said = {"owner": owner.result(), "admin": admin.result()}
        ended = town.approval(user=town.user(stranger))
        winner = "owner" if ended["decision"] == "allow" else "admin"
        loser = "admin" if winner == "owner" else "owner"
        assert ended["decided_by"] == town.user(winner)
        assert said[winner].startswith("Allowed by" if winner == "owner" else "Denied by")
        verb = "allowed" if winner == "owner" else "refused"
        assert said[loser] == f"{town.handle(winner)} has {verb} this already."
        assert (town.user(stranger) in town.members()) == (winner == "owner")
        if winner == "owner":
            town.plain.hears(chat, f"echo: hello {number}")


def test_who_is_asked_first_and_who_instead(town: Town) -> None:
    """An admin of the group, then of everything, then an owner; the first who can be written to."""
    town.grant("owner")
    town.grant("chief", "admin")
    town.grant("warden", "admin", town.group)
    chat = town.chat(town.loop)
    knock(town, town.loop, chat, "hello")
    card = town.card("warden")
    assert town.approval()["asked"] == town.user("warden")
    town.click(card, "Deny", by="warden")
    for account in town.accounts:
        account.direct_chat(town.handle("guard"), None)
    call("Roles.Revoke", user=town.user("warden"), role="admin", group=town.group)
    town.grant("guard", "admin", town.group)
    town.say(town.loop, chat, "hello again", by="stranger")
    town.card("chief")
    assert town.approval(status="pending")["asked"] == town.user("chief")
    assert [one for one in town.loop.deliveries if one.chat == town.handle("owner")] == []


def test_a_card_that_cannot_be_delivered_is_tried_again_and_shown(town: Town) -> None:
    """Even a failure that the platform calls permanent: somebody waits. `ncl approvals` shows it meanwhile."""
    town.grant("owner")
    town.only_on(town.loop, "owner")
    chat = town.chat(town.plain)
    town.loop.fail(reason="the platform says 403", permanent=True, retry_after=2.0)
    knock(town, town.plain, chat, "hello")
    approval = town.gets_asked(problem="the platform says 403")
    assert (approval["card"], approval["asked"]) == ("waiting", town.user("owner"))
    assert town.group in run("ncl", "approvals", "list")
    assert "the platform says 403" in run("ncl", "approvals", "get", approval["id"])
    card = town.card("owner")
    town.gets_asked(card="delivered", problem=None)
    town.click(card, "Allow", by="owner")
    town.plain.hears(chat, "echo: hello")


def test_an_approval_waits_for_somebody_who_can_be_asked(town: Town) -> None:
    """Nobody who may decide can be written to; a new admin is asked at once. Also an operator decides by `ncl`."""
    town.grant("owner")
    for account in town.accounts:
        account.direct_chat(town.handle("owner"), None)
    chat = town.chat(town.loop)
    knock(town, town.loop, chat, "hello")
    waiting = town.approval()
    assert waiting["card"] in ("none", "waiting")
    town.grant("warden", "admin", town.group)
    card = town.card("warden")
    said = run("ncl", "approvals", "decide", waiting["id"][:8], "allow")
    assert "may talk to" in said
    town.loop.hears(chat, "echo: hello")
    wait_until(lambda: "Allowed by root" in town.loop.texts(town.handle("warden"))[0], "the card tells who has decided")
    assert town.click(card, "Deny", by="warden") == "root has allowed this already."
    assert town.approval()["decided_by"] == "terminal:root"


def test_what_nobody_decides_expires_and_everyone_is_told(town: Town) -> None:
    with configured(access={"approval_hours": 0.001}):
        town.grant("owner")
        town.only_on(town.loop, "owner")
        chat = town.chat(town.plain)
        knock(town, town.plain, chat, "hello")
        card = town.card("owner")
        town.plain.hears(chat, "Nobody decided in time whether you may write here. Write again to ask.")
        wait_until(lambda: "→ Nobody decided in time" in town.loop.texts(town.handle("owner"))[0], "the card tells it")
        assert town.click(card, "Allow", by="owner") == "Nobody decided in time: this has expired."
        assert town.members() == []
        seen = len(town.loop.deliveries)
        town.say(town.plain, chat, "hello again", by="stranger")
        again = town.card("owner", after=seen)
        assert again.card != card.card
        assert "Allowed" in town.click(again, "Allow", by="owner")
        town.plain.hears(chat, "echo: hello again")
        assert answers(town.plain, chat, "hello\n") == 0


def test_what_has_expired_while_the_daemon_was_away_is_told_by_the_next(town: Town) -> None:
    town.grant("owner")
    town.only_on(town.loop, "owner")
    chat = town.chat(town.plain)
    knock(town, town.plain, chat, "hello")
    card = town.card("owner")
    with daemon_stopped():  # for a day
        change("UPDATE approvals SET expires_at = '2026-01-01T00:00:00.000Z' WHERE id = ?", card.card)
    town.plain.hears(chat, "Nobody decided in time whether you may write here.")
    assert town.click(card, "Allow", by="owner") == "Nobody decided in time: this has expired."
    wait_until(lambda: "→ Nobody decided in time" in town.loop.texts(town.handle("owner"))[0], "the card tells it")
    assert town.asked(status="pending") == []


@pytest.mark.parametrize("interrupt", [restart_daemon, kill_daemon])
def test_an_approval_survives_the_daemon_at_each_stage(town: Town, interrupt: Callable[[], None]) -> None:
    """While the stranger writes, while the owner thinks, while the choice is told, while the answer is made."""
    town.grant("owner")
    town.plain.close()  # whichever account is up first after a start, the owner is on this one
    chat = town.chat(town.loop)
    message = town.say(town.loop, chat, "hello", by="stranger", wait=False)
    interrupt()
    town.loop.all_acknowledged()
    card = town.card("owner")
    interrupt()
    with ThreadPoolExecutor(1) as hand:
        clicked = hand.submit(town.click, card, "Allow", by="owner")
        interrupt()
        assert clicked.result() in ("You have allowed this already.", *_allowed(town))
    interrupt()
    town.loop.hears(chat, "echo: hello")
    assert answers(town.loop, chat, "hello") == 1
    wait_until(lambda: town.loop.texts(chat).count(ASKED) == 1, "the stranger is told that somebody is asked")
    assert [one.card for one in town.loop.deliveries if one.kind == "card"] == [card.card]
    wait_until(lambda: "→ Allowed by" in town.loop.texts(town.handle("owner"))[0], "the outcome is in the card's place")
    # Told again, as platforms do: it is known.
    town.say(town.loop, chat, "hello", by="stranger", message_id=message)
    town.say(town.loop, chat, "and then", by="stranger")
    town.loop.hears(chat, "echo: and then")
    assert answers(town.loop, chat, "hello") == 1


def test_what_was_decided_before_a_death_is_done_by_the_next_daemon(town: Town) -> None:
    """Between the decision's commit and the message: it is answered where it was written, in its thread."""
    town.grant("owner")
    town.plain.close()
    chat = town.chat(town.loop, is_group=True)
    town.say(town.loop, chat, "hello", by="stranger", thread="t1", group=True, mention=True)
    card = town.card("owner")
    with daemon_stopped():  # in the state that a kill leaves right after the commit
        change(
            "UPDATE approvals SET status = 'approved', decision = 'allow', decided_by = ?, decided_at = expires_at"
            " WHERE id = ?",
            town.user("owner"),
            card.card,
        )
        change(
            "INSERT INTO users (id, display_name, created_at) VALUES (?, 'Stranger', '2026-01-01T00:00:00.000Z')",
            town.user("stranger"),
        )
        change(
            "INSERT INTO agent_group_members (user_id, agent_group_id, added_by, added_at)"
            " SELECT ?, id, ?, '2026-01-01T00:00:00.000Z' FROM agent_groups WHERE folder = ?",
            town.user("stranger"),
            town.user("owner"),
            town.group,
        )
    town.loop.hears(chat, "echo: hello", thread="t1")
    assert town.loop.texts(chat) == []


def _allowed(town: Town) -> list[str]:
    return [f"Allowed by {town.handle('owner')}: Stranger may talk to {town.group} from now on."]


def test_a_crowd_knocks_while_the_daemon_dies_again_and_again(town: Town) -> None:
    """Every stranger is asked about once, every choice counts once, and everybody is told once, in the same thread."""
    luck = random.Random(SEED)
    town.grant("owner")
    chat = town.chat(town.loop, is_group=True)
    done = threading.Event()
    deaths = [threading.Event() for _ in range(STRANGERS)]

    def reap() -> None:
        for death in deaths:
            done.wait(luck.uniform(0.2, 1.2))
            kill_daemon()
            death.set()

    def knocks(number: int) -> None:
        deaths[number].wait()  # so that each has its own moment between two deaths
        town.say(
            town.loop, chat, f"knock {number}", by=f"s{number}", thread="door", group=True, mention=True, seconds=90
        )

    def cards(number: int) -> list[tuple[Account, Delivery]]:
        # the account that is up first after a death is the one where the owner can be reached
        told = [(account, one) for account in town.accounts for one in account.deliveries if one.kind != "edit"]
        return [(account, one) for account, one in told if f"> knock {number}\n" in one.text]

    def decides(number: int) -> None:
        wait_until(lambda: cards(number), f"seed {SEED}: the card about knock {number}", 90)
        account, card = cards(number)[0]
        choice, owner = "Allow" if number % 2 else "Deny", town.handle("owner")
        if account is town.loop:
            account.click(card, choice, sender=owner, seconds=90)
            return
        reaper.join()  # a call is lost with the daemon that it was made to
        town.gets_asked(user=town.user(f"s{number}"), card="delivered")
        town.say(account, owner, f"{tag_of(card)} {choice}", by="owner")

    reaper = threading.Thread(target=reap)
    reaper.start()
    try:
        with ThreadPoolExecutor(2 * STRANGERS) as people:
            all_of_it = [people.submit(knocks, number) for number in range(STRANGERS)]
            all_of_it += [people.submit(decides, number) for number in range(STRANGERS)]
            for one in all_of_it:
                one.result()
    finally:
        done.set()
        reaper.join()
    for number in range(1, STRANGERS, 2):
        town.loop.hears(chat, f"echo: knock {number}", 60, thread="door")
    wait_until(lambda: town.loop.texts(chat, "door").count(REFUSED) == STRANGERS // 2, f"seed {SEED}: all are told", 60)
    found = [answers(town.loop, chat, f"knock {number}", "door") for number in range(STRANGERS)]
    assert found == [number % 2 for number in range(STRANGERS)], f"seed {SEED}"
    wait_until(lambda: town.loop.texts(chat, "door").count(ASKED) == STRANGERS, "all are told that somebody is asked")
    assert town.loop.texts(chat) == []
    assert sorted(town.members()) == [town.user(f"s{number}") for number in range(1, STRANGERS, 2)]
    assert [len({one.id for _, one in cards(number)}) for number in range(STRANGERS)] == [1] * STRANGERS
