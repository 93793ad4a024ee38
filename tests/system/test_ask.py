"""Requests that a rule holds (acceptance 4): approved, rejected, expired, held over restarts, decided once, by who may.

F-108…F-118: the card and what it does. W-45, W-52: what waits for somebody outlives the daemon, and its end is told.
"""

import json
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from eventually import wait_until
from system import appliance, sites
from system.appliance import call, configured, restart_daemon, run
from system.hosting import running
from system.loopback import Delivery
from system.sites import NAME, Site
from system.town import Town, another_owner, no_owner, town

WITHDRAWN = "→ Withdrawn: the request does not wait any more."


@dataclass
class Stage:
    """A town whose agent may ask for a site, and has to wait for somebody's word."""

    town: Town
    site: Site
    chat: str

    @property
    def url(self) -> str:
        return f"http://{NAME}:{self.site.port}"

    def begins(self, path: str, *more: str) -> None:
        """Have the agent ask for something; it waits."""
        command = " ".join(("curl", "-sS", "-m", "100", *more, self.url + path))
        asked = json.dumps({"command": command, "timeout": 110})
        self.town.say(self.town.plain, self.chat, f"!call run_command {asked}", by="guest")

    def ends(self, words: str, after: int) -> str:
        return self.town.plain.hears(self.chat, words, after=after).text

    @property
    def heard(self) -> int:
        return len(self.town.plain.deliveries)

    def card(self, after: int, who: str = "owner") -> Delivery:
        return self.town.card(who, after=after)

    @property
    def shown(self) -> int:
        return len(self.town.loop.deliveries)

    def asked_for(self, path: str) -> bool:
        return any(one == path for one, _ in self.site.asked)

    def becomes(self, card: Delivery, words: str) -> None:
        """Wait until words stand in a card's place."""
        self.town.loop.wait(lambda one: one.target == card.message and words in one.text, f"the card says {words}")


@dataclass
class Secure(Stage):
    """Its site is by TLS, and one path of it is asked about: so the gateway looks inside."""

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.site.port}"


def path() -> str:
    return f"/hello?{secrets.token_hex(4)}"


@contextmanager
def staged(place: Path) -> Iterator[Stage]:
    with (
        another_owner(),
        town() as built,
        sites.named(f"127.0.0.1 {NAME}"),
        running(Site(place)) as site,
    ):
        built.grant("owner")
        for who in ("owner", "admin"):
            built.only_on(built.loop, who)
        rule = ("ncl", "--json", "egress", "ask", built.group, f"{NAME}:{site.port}", "--private")
        assert json.loads(run(*rule))["rule"]["action"] == "ask"
        yield Stage(built, site, built.chat(built.plain, policy="public"))


@pytest.fixture(scope="module")
def secure(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    place = tmp_path_factory.mktemp("secure")
    ca, pem = sites.certificate(place)
    town = module_stage.town
    with sites.trusted(ca), running(Site(place, pem)) as site:
        run("ncl", "egress", "ask", town.group, f"https://{NAME}:{site.port}/post", "--private")
        wait_until(lambda: NAME in sites.vouched_for(), "the gateway can look into the site's TLS")
        yield Secure(town, site, module_stage.chat)


@pytest.fixture(scope="module")
def module_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def stage(module_stage: Stage) -> Stage:
    # What was allowed for an hour in another test is none of this one's.
    rule = ("ncl", "--json", "egress", "ask", module_stage.town.group, f"{NAME}:{module_stage.site.port}", "--private")
    run(*rule)
    return module_stage


def test_what_is_held_goes_nowhere_until_it_is_allowed_and_is_in_the_audit(stage: Stage) -> None:
    """F-108, F-109, F-114: agent, method, host, path and the body's beginning; the record has session and approval."""
    shown, heard, since, wanted = stage.shown, stage.heard, time.time(), path()
    stage.begins(wanted, "--data-raw", "'first line of the body'")
    card = stage.card(shown)
    assert card.title == f"{stage.town.group} asks: POST {NAME}"
    for words in (f"POST {stage.url}{wanted}", "> first line of the body", "Once: only this."):
        assert words in card.text
    assert card.labels == ("Allow once", "Allow for an hour", "Deny")
    assert all(len(f"{card.card}:{option.value}".encode()) <= 64 for option in card.options)
    assert not stage.asked_for(wanted)
    assert stage.town.click(card, "Allow once", by="owner").startswith("Allowed once by")
    stage.ends("first line of the body", heard)
    assert stage.asked_for(wanted)
    stage.becomes(card, "→ Allowed once by")
    (session,) = [one["id"] for one in call("Sessions.List", group=stage.town.group)["sessions"]]
    assert session in card.text
    wait_until(lambda: str(card.card) in appliance.journal("NANOCLAW_AUDIT=egress", since=since), "the audit has it")
    record = json.loads(
        run("ncl", "--json", "egress", "log", "--group", stage.town.group, "-n", "1").strip().splitlines()[-1]
    )
    assert record["NANOCLAW_SESSION"] == session
    assert record["NANOCLAW_EGRESS_APPROVAL"] == card.card
    assert record["NANOCLAW_EGRESS_OUTCOME"] == "answered"
    # Once is once.
    shown, heard = stage.shown, stage.heard
    stage.begins(path(), "--data-raw", "x")
    stage.town.click(stage.card(shown), "Deny", by="owner")
    stage.ends("somebody with the right to decide refused it", heard)


def test_for_an_hour_is_for_the_same_method_only(stage: Stage) -> None:
    shown, heard = stage.shown, stage.heard
    stage.begins(path())
    stage.town.click(stage.card(shown), "Allow for an hour", by="owner")
    stage.ends(sites.HELLO, heard)
    shown, heard = stage.shown, stage.heard
    stage.begins(path())
    stage.ends(sites.HELLO, heard)
    assert stage.shown == shown or not [one for one in stage.town.loop.deliveries[shown:] if one.kind == "card"]
    stage.begins(path(), "-X", "POST", "-d", "x")
    stage.town.click(stage.card(shown), "Deny", by="owner")
    stage.ends("refused it", heard)


def test_no_is_no(stage: Stage) -> None:
    """F-110."""
    shown, heard, wanted = stage.shown, stage.heard, path()
    stage.begins(wanted)
    assert stage.town.click(stage.card(shown), "Deny", by="owner").startswith("Denied by")
    stage.ends("somebody with the right to decide refused it", heard)
    assert not stage.asked_for(wanted)


def test_nobody_decides_in_time(stage: Stage) -> None:
    """F-111, F-117: refused, the card says so, and a late click changes nothing."""
    with configured(gateway={"hold": 3}):
        run("systemctl", "restart", "nanoclaw-gateway.service")
        shown, heard, wanted = stage.shown, stage.heard, path()
        stage.begins(wanted)
        card = stage.card(shown)
        stage.ends("nobody decided within 3 seconds", heard)
        stage.becomes(card, "→ Nobody decided in time: this has expired.")
        assert stage.town.click(card, "Allow once", by="owner") == "Nobody decided in time: this has expired."
        assert not stage.asked_for(wanted)
    run("systemctl", "restart", "nanoclaw-gateway.service")


@pytest.mark.parametrize("how", ["restarted", "killed"])
def test_held_while_the_daemon_goes(stage: Stage, how: str) -> None:
    """W-45, W-52: the request waits, and the card that was shown decides it afterwards."""
    shown, heard, wanted = stage.shown, stage.heard, path()
    stage.begins(wanted)
    card = stage.card(shown)
    (appliance.kill_daemon if how == "killed" else restart_daemon)()
    stage.town.loop.connected()
    assert stage.town.click(card, "Allow once", by="owner").startswith("Allowed once by")
    stage.ends(sites.HELLO, heard)
    assert [one for one, _ in stage.site.asked].count(wanted) == 1
    assert len(stage.town.asked(status="pending")) == 0


def test_held_while_the_gateway_goes(stage: Stage) -> None:
    """F-112: nobody waits any more, so nobody is to decide: the card says so, a click does nothing (F-117)."""
    shown, heard, wanted = stage.shown, stage.heard, path()
    stage.begins(wanted)
    card = stage.card(shown)
    run("systemctl", "kill", "--signal=KILL", "nanoclaw-gateway.service")
    stage.becomes(card, WITHDRAWN)
    assert stage.town.click(card, "Allow once", by="owner") == "This does not wait any more."
    stage.ends("curl: ", heard)
    assert not stage.asked_for(wanted)
    # The next gateway holds and asks as the one before.
    shown, heard = stage.shown, stage.heard
    stage.begins(wanted)
    stage.town.click(stage.card(shown), "Allow once", by="owner")
    stage.ends(sites.HELLO, heard)


def test_who_leaves_is_not_waited_for(stage: Stage) -> None:
    """A body that nobody reads waits behind the request; that its sender has gone is seen all the same."""
    body = appliance.STATE / "groups" / stage.town.group / "body"
    body.write_bytes(b"x" * 150_000)
    body.chmod(0o644)
    shown = stage.shown
    stage.begins(path(), "--max-time", "4", "-T", "body", "-H", "Expect:")
    card = stage.card(shown)
    stage.becomes(card, WITHDRAWN)


def test_two_decide_at_once_and_one_does(stage: Stage) -> None:
    """F-109: exactly one decision."""
    stage.town.grant("admin", "admin")
    try:
        shown, heard, wanted = stage.shown, stage.heard, path()
        stage.begins(wanted)
        card = stage.card(shown, "admin")
        with ThreadPoolExecutor(2) as hands:
            owner = hands.submit(stage.town.click, card, "Allow once", by="owner")
            admin = hands.submit(stage.town.click, card, "Deny", by="admin")
            said = {owner.result(), admin.result()}
        allowed = any(words.startswith("Allowed once by") for words in said)
        assert len([one for one in said if one.endswith("already.")]) == 1
        stage.ends(sites.HELLO if allowed else "refused it", heard)
        assert stage.asked_for(wanted) is allowed
    finally:
        call("Roles.Revoke", user=stage.town.user("admin"), role="admin")


def test_who_lost_the_right_decides_nothing(stage: Stage) -> None:
    stage.town.grant("admin", "admin")
    shown, heard = stage.shown, stage.heard
    stage.begins(path())
    card = stage.card(shown, "admin")
    call("Roles.Revoke", user=stage.town.user("admin"), role="admin")
    assert "You may not decide this" in stage.town.click(card, "Allow once", by="admin")
    assert stage.town.click(card, "Deny", by="owner").startswith("Denied by")
    stage.ends("refused it", heard)


def test_nobody_to_ask_is_refused_at_once(stage: Stage) -> None:
    """F-113: the reason is told, and nothing is kept."""
    before = {one["id"] for one in stage.town.asked()}
    with no_owner():
        heard = stage.heard
        stage.begins(path())
        stage.ends("there is nobody to decide about it: nobody has the right to decide", heard)
    assert {one["id"] for one in stage.town.asked()} == before


def test_what_a_rule_bounds(stage: Stage) -> None:
    """How often, how much out, how much in: refused with the rule's words; the rest goes on."""
    name = f"{NAME}:{stage.site.port}"
    bounds = ("--rate", "2/h", "--max-body", "10", "--max-download", "1K")
    run("ncl", "egress", "allow", stage.town.group, name, "--private", *bounds)
    (stage.site.root / "large").write_bytes(b"x" * 2000)
    heard = stage.heard
    stage.begins("/hello", "-d", "more than ten bytes".replace(" ", "-"))
    stage.ends("lets bodies of 10 bytes through", heard)
    heard = stage.heard
    stage.begins("/large")
    stage.ends("lets answers of 1024 bytes through", heard)
    heard = stage.heard
    stage.begins(path(), "-i")
    said = stage.ends("lets 2/h through", heard)
    assert "429" in said
    assert "Retry-After: " in said


@pytest.mark.parametrize(("version", "number"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_what_is_inside_of_tls_is_held_and_goes_on_as_it_was(secure: Secure, version: str, number: str) -> None:
    """F-109: the card has method, path and the body's beginning, which nobody outside of the connection could see."""
    shown, heard, wanted = secure.shown, secure.heard, f"/post?{secrets.token_hex(4)}"
    said = ("-H", "'x-said: in a header'", "-w", "' by %{http_version}'")
    secure.begins(wanted, version, *said, "--data-raw", "'first line of the body'")
    card = secure.card(shown)
    assert card.title == f"{secure.town.group} asks: POST {NAME}"
    for words in (f"POST {secure.url}{wanted}", "> first line of the body"):
        assert words in card.text
    assert "in a header" not in card.text
    assert not secure.asked_for(wanted)
    assert secure.town.click(card, "Allow once", by="owner").startswith("Allowed once by")
    secure.ends(f"first line of the body by {number}", heard)
    assert [one for one, _ in secure.site.asked].count(wanted) == 1
    assert secure.site.asked[-1][1]["x-said"] == "in a header"
    secure.becomes(card, "→ Allowed once by")


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_what_is_inside_of_tls_is_refused(secure: Secure, version: str) -> None:
    """F-110; and what no rule speaks of gets as far as nobody's card."""
    shown, heard, wanted = secure.shown, secure.heard, f"/post?{secrets.token_hex(4)}"
    secure.begins(wanted, version, "-i", "--data-raw", "x")
    assert secure.town.click(secure.card(shown), "Deny", by="owner").startswith("Denied by")
    assert "403" in secure.ends("somebody with the right to decide refused it", heard)
    shown, heard = secure.shown, secure.heard
    secure.begins(f"/hello?{wanted}", version)
    secure.ends("no rule allows it", heard)
    assert not [one for one in secure.town.loop.deliveries[shown:] if one.kind == "card"]
    assert not secure.asked_for(wanted)
    assert not secure.asked_for(f"/hello?{wanted}")
