"""OneCLI in the place of our own credentials, on an appliance: before a server that follows its published client.

F-106…F-118, F-130; W-45, W-46, W-52. Its proxy intercepts TLS and puts in a secret; its approvals become cards.
"""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from eventually import wait_until
from onecli_api.threaded import Threaded
from system import appliance, sites
from system.appliance import Person, call, run
from system.hosting import running
from system.sites import HELLO, NAME, Site
from system.town import Town, another_owner, town

SECRET: Final = f"Bearer canary-{secrets.token_hex(8)}"


@dataclass
class Stage:
    """A town whose agent goes out through a OneCLI, and the site behind it."""

    town: Town
    person: Person
    site: Site
    onecli: Threaded

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.site.port}"

    @property
    def agent_id(self) -> str:
        """The group's own id, as the daemon publishes it."""
        agents = json.loads(Path("/run/nanoclaw-agents/agents.json").read_text())["agents"]
        (found,) = [one["id"] for one in agents if one["group"] == self.town.group]
        return str(found)

    def fetch(self, path: str = "/hello", more: str = "") -> str:
        return self.person.runs(f"curl -sS -w ' %{{http_code}}' {more} {self.url}{path}")


def component() -> dict[str, str]:
    (found,) = [one for one in call("Appliance.Status")["components"] if one["name"] == "onecli"]
    return dict(found)


def is_there() -> bool:
    return component()["state"] == "ok"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("onecli")
    ca, pem = sites.certificate(place)
    onecli = Threaded(place, ca)
    onecli.change(lambda world: world.secrets.update({NAME: SECRET}))
    try:
        subprocess.run(
            ["ncl", "credentials", "put", "nanoclaw-gateway.onecli"], input=onecli.world.key.encode(), check=True
        )
        with (
            sites.named(f"127.0.0.1 {NAME}"),
            running(Site(place, pem)) as site,
            another_owner(),
            appliance.configured(gateway={"onecli": {"url": onecli.api.url}}),
        ):
            run("systemctl", "restart", "nanoclaw-gateway.service")
            with town() as built, Person(built.group) as person:
                # Before the operator, whose terminal is attached, too.
                built.grant("owner", "admin", built.group)
                built.only_on(built.loop, "owner")
                run("ncl", "egress", "allow", built.group, f"{NAME}:{site.port}", "--private")
                wait_until(is_there, "OneCLI is there")
                yield Stage(built, person, site, onecli)
    finally:
        subprocess.run(["ncl", "credentials", "delete", "nanoclaw-gateway.onecli"], check=False)
        run("systemctl", "restart", "nanoclaw-gateway.service")
        onecli.close()


def test_a_container_has_the_effect_of_a_secret_and_never_the_secret(stage: Stage) -> None:
    """F-106, F-130, W-46: an agent of the group's own id; it has nothing at first, then what its operator gave it."""
    assert stage.fetch() == f"{HELLO} 200"
    agent = stage.onecli.world.agents[stage.agent_id]
    assert "Authorization" not in stage.site.asked[-1][1]
    assert "no secrets there yet" in run("ncl", "doctor", check=False)
    stage.onecli.change(lambda _world: agent.assigned.add(NAME))
    assert stage.fetch() == f"{HELLO} 200"
    assert {name.lower(): value for name, value in stage.site.asked[-1][1].items()}["authorization"] == SECRET
    known = stage.person.runs("env; cat /proc/self/environ /proc/1/environ 2>/dev/null; cat /app/agent.json")
    assert SECRET not in known
    assert agent.token not in known


def test_what_no_rule_allows_is_not_asked_of_onecli(stage: Stage) -> None:
    said = stage.person.runs("curl -sS -o /dev/null -w 'code %{http_connect}' https://elsewhere.test/; true")
    assert "403" in said
    stage.fetch()
    carried = stage.onecli.world.carried
    assert f"{NAME}:{stage.site.port}" in carried, "what a rule allows is"
    assert not [one for one in carried if "elsewhere" in one]


@pytest.fixture
def asks(stage: Stage) -> Iterator[Stage]:
    """OneCLI has somebody decide about each request to the site."""
    stage.onecli.change(lambda world: world.asks.add(NAME))
    yield stage
    stage.onecli.change(lambda world: world.asks.clear())
    stage.onecli.change(lambda world: setattr(world, "timeout", 300.0))


def begun(stage: Stage, pool: ThreadPoolExecutor, path: str) -> "Future[str]":
    return pool.submit(stage.fetch, path, "-X POST -d 'the body of it'")


@pytest.mark.parametrize(("button", "code", "decision"), [("Allow once", "200", "approve"), ("Deny", "403", "deny")])
def test_what_onecli_holds_is_a_card_and_one_decision(asks: Stage, button: str, code: str, decision: str) -> None:
    """F-108…F-110, F-114…F-116, F-118."""
    town, before = asks.town, len(asks.onecli.world.decisions)
    seen = len(town.loop.deliveries)
    with ThreadPoolExecutor(1) as pool:
        waits = begun(asks, pool, "/hello?things=1")
        card = town.card("owner", after=seen)
        for words in (f"POST https://{NAME}/hello?things=1", "OneCLI", "the body of it", town.group):
            assert words in card.text
        assert card.labels == ("Allow once", "Deny")
        assert len(card.card or "") <= 40
        approval = town.approval(status="pending")
        # Nobody without the right to it decides.
        town.click(card, button, by="stranger")
        assert town.approval(status="pending")["id"] == approval["id"]
        town.click(card, button, by="owner")
        assert waits.result(60).endswith(f" {code}")
    assert [one for _, one in asks.onecli.world.decisions[before:]] == [decision]
    town.click(card, "Allow once", by="owner")  # F-117: too late for anything
    assert len(asks.onecli.world.decisions) == before + 1


def test_what_nobody_decides_is_denied_and_the_card_says_so(asks: Stage) -> None:
    """F-111."""
    asks.onecli.change(lambda world: setattr(world, "timeout", 5.0))
    town, before = asks.town, len(asks.onecli.world.decisions)
    seen = len(town.loop.deliveries)
    with ThreadPoolExecutor(1) as pool:
        waits = begun(asks, pool, "/hello?nobody=1")
        card = town.card("owner", after=seen)
        assert waits.result(60).endswith(" 403")
    wait_until(lambda: not town.asked(status="pending"), "nothing waits any more")
    wait_until(
        lambda: any(one.target == card.message for one in town.loop.deliveries if one.kind == "edit"),
        "the card is edited",
    )
    assert [one for _, one in asks.onecli.world.decisions[before:]] in (["deny"], [])


def test_a_gateway_that_restarts_leaves_no_card_that_means_nothing(asks: Stage) -> None:
    """F-112, W-52: what waits is asked about again under the same number; one card, one decision."""
    town, before = asks.town, len(asks.onecli.world.decisions)
    seen = len(town.loop.deliveries)
    with ThreadPoolExecutor(1) as pool:
        waits = begun(asks, pool, "/hello?restart=1")
        town.card("owner", after=seen)
        run("systemctl", "kill", "--signal=KILL", "nanoclaw-gateway.service")
        # The agent's connection has gone with it, and so has the request at OneCLI, sooner or later; nothing is left.
        assert not waits.result(90).endswith(" 200")
    wait_until(is_there, "OneCLI is reached again")
    for one in town.asked(status="pending"):
        call("Approvals.Decide", id=one["id"], option="Deny")
    wait_until(lambda: not town.asked(status="pending"), "nothing waits any more")
    assert [one for _, one in asks.onecli.world.decisions[before:]] in (["deny"], [])


def test_while_onecli_is_away_messages_wait_visibly_and_go_on_by_themselves(stage: Stage) -> None:
    """F-107, W-45: nobody is started to fail, who waits is told once, and nobody has to help."""
    town = stage.town
    chat = town.chat(town.loop, policy="public")
    town.say(town.loop, chat, "before", by="somebody")
    town.loop.hears(chat, "echo: before")
    since = time.time()
    stage.onecli.stop()
    try:
        wait_until(lambda: component()["state"] == "failed", "OneCLI is away")
        wait_until(
            lambda: all(one["state"] == "asleep" for one in sessions(town.group)), "idle containers were sent to sleep"
        )
        heard = len(town.loop.deliveries)
        town.say(town.loop, chat, "while it is away", by="somebody")
        told = town.loop.hears(chat, "I can't work at the moment: OneCLI", after=heard)
        assert "I go on by myself" in told.text
        town.say(town.loop, chat, "and more", by="somebody")
        wait_until(
            lambda: any("OneCLI cannot be reached" in (one["reason"] or "") for one in sessions(town.group)),
            "why it waits",
        )
        assert "OneCLI cannot be reached" in run("ncl", "status")
        assert "OneCLI cannot be reached" in run("ncl", "doctor", check=False)
        assert "echo: while" not in "\n".join(town.loop.texts(chat))
        # Who goes nowhere beyond the model is not held.
        with appliance.group() as other, Person(other) as somebody:
            assert "hello" in somebody.ask("hello").text
    finally:
        stage.onecli.start()
    town.loop.hears(chat, "echo: while it is away")
    town.loop.hears(chat, "echo: and more")
    said = "\n".join(town.loop.texts(chat))
    assert said.count("I can't work at the moment") == 1
    assert stage.fetch() == f"{HELLO} 200"
    assert "messages to agents that may go out are held" in appliance.journal("-u", "nanoclawd", since=since)


def sessions(group: str) -> list[dict[str, str]]:
    return [one for one in call("Sessions.List")["sessions"] if one["group"] == group]


def test_a_key_that_onecli_does_not_take_is_said_with_what_to_do(stage: Stage) -> None:
    key = stage.onecli.world.key
    stage.onecli.change(lambda world: setattr(world, "key", "oc_another"))
    stage.onecli.stop()
    stage.onecli.start()
    try:
        wait_until(lambda: "API key" in component()["detail"], "the key is refused")
        assert component()["hint"] == "ncl credentials put nanoclaw-gateway.onecli"
    finally:
        stage.onecli.change(lambda world: setattr(world, "key", key))
    wait_until(is_there, "OneCLI is there again")


def test_nothing_of_it_is_in_the_journal(stage: Stage) -> None:
    agent = stage.onecli.world.agents[stage.agent_id]
    stage.fetch()
    since = time.time() - 3600
    wait_until(lambda: NAME in appliance.journal("NANOCLAW_AUDIT=egress", since=since), "it has the request")
    said = appliance.journal(since=since)
    assert NAME in said
    for secret in (SECRET, agent.token, stage.onecli.world.key):
        assert secret not in said
