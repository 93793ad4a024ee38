"""An agent on Claude that wants out (acceptance 5): refused, asks, is allowed for an hour, is refused again."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from eventually import wait_until
from system import sites
from system.appliance import call, daemon_stopped, run
from system.claude_stage import SECONDS, Api, claude_group
from system.town import Town, change

FAR: Final = "far.egress.test"
HELLO: Final = "hello from far away"
# Addresses as hosts on the internet have them, in a namespace of the test: nothing is sent to theirs.
OURS, THEIRS = "93.184.215.1", "93.184.215.2"


@contextmanager
def far_away(place: Path) -> Iterator[None]:
    """Have a site that is on the internet as far as anybody can tell, in a network of its own."""
    name = f"far{secrets.token_hex(3)}"
    (place / "hello").write_text(HELLO)
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "address", "add", f"{OURS}/30", "dev", name)
        run("ip", "link", "set", name, "up")
        inside = ("ip", "netns", "exec", name)
        run(*inside, "ip", "address", "add", f"{THEIRS}/30", "dev", "eth0")
        run(*inside, "ip", "link", "set", "eth0", "up")
        server = (sys.executable, "-m", "http.server", "80", "--bind", THEIRS, "--directory", str(place))
        with subprocess.Popen([*inside, *server], stderr=subprocess.DEVNULL) as serving:
            try:
                fetched = ("curl", "-sS", "-m", "5", f"http://{THEIRS}/hello")
                wait_until(lambda: run(*fetched, check=False) == HELLO, "the site is there")
                with sites.named(f"{THEIRS} {FAR}"):
                    yield
            finally:
                serving.terminate()
    finally:
        run("ip", "netns", "delete", name)


@pytest.fixture
def agent(town: Town, api: Api, tmp_path: Path) -> Iterator[Town]:
    """A town whose agent is Claude's client, and a site that is far away."""
    del api
    tmp_path.chmod(0o755)
    with far_away(tmp_path), claude_group() as group:
        yield replace(town, group=group)


def test_an_agent_asks_for_a_host_and_has_it_for_an_hour(agent: Town) -> None:
    """Acceptance 5; F-118: who may decide is asked in their own chat, and the agent is told what came of it."""
    agent.grant("owner")
    agent.only_on(agent.loop, "owner")
    chat = agent.chat(agent.plain, policy="public")

    def says(*lines: str, expected: str) -> str:
        heard = len(agent.plain.deliveries)
        agent.say(agent.plain, chat, "\n".join(lines), by="guest")
        return agent.plain.hears(chat, expected, seconds=SECONDS, after=heard).text

    fetch = ("@tool Bash " + json.dumps({"command": f"curl -sS http://{FAR}/hello"}), "@say {results}")
    refused = says(*fetch, expected="may not reach")
    assert f"ncl egress request {FAR}" in refused
    asks = json.dumps({"host": FAR, "reason": "the news are there"})
    shown = len(agent.loop.deliveries)
    says(f"@tool mcp__nanoclaw__request_access {asks}", "@say {results}", expected="Not done yet")
    card = agent.card("owner", after=shown)
    assert card.title == f"{agent.group} asks: ncl egress request"
    for words in (f"host: {FAR}", "reason: the news are there"):
        assert words in card.text
    assert card.labels == ("Allow once (10 minutes)", "Allow for an hour", "Allow always", "Deny")
    heard = len(agent.plain.deliveries)
    assert agent.click(card, "Allow for an hour", by="owner").startswith("Allowed for an hour by")
    agent.plain.hears(chat, f"Done: ncl egress request {FAR}", seconds=SECONDS, after=heard)
    says(*fetch, expected=HELLO)
    (rule,) = [one for one in call("Egress.List", group=agent.group)["rules"] if one["host"] == FAR]
    assert (rule["action"], rule["private"], bool(rule["expires_at"])) == ("allow", False, True)
    with daemon_stopped():
        # An hour later.
        change("UPDATE egress_rules SET expires_at = '2020-01-01T00:00:00.000Z' WHERE id = ?", rule["id"])
    says(*fetch, expected="may not reach")


def test_what_was_refused_is_not_asked_again(agent: Town) -> None:
    """Nobody is asked over and over: one card for a host, and none for a day after it was refused."""
    agent.grant("owner")
    agent.only_on(agent.loop, "owner")
    chat = agent.chat(agent.plain, policy="public")

    def asks(reason: str, expected: str, host: str = FAR) -> None:
        heard = len(agent.plain.deliveries)
        given = json.dumps({"command": f"ncl egress request {host} --reason {reason} 2>&1"})
        agent.say(agent.plain, chat, f"@tool Bash {given}\n@say {{results}}", by="guest")
        agent.plain.hears(chat, expected, seconds=SECONDS, after=heard)

    shown = len(agent.loop.deliveries)
    asks("one", "somebody has to allow this first")
    asks("two", "somebody has to allow this first")
    card = agent.card("owner", after=shown)
    assert len([one for one in call("Approvals.List")["approvals"] if one["group"] == agent.group]) == 1
    heard = len(agent.plain.deliveries)
    assert agent.click(card, "Deny", by="owner").startswith("Denied by")
    agent.plain.hears(chat, "Refused by somebody with the right to decide", seconds=SECONDS, after=heard)
    asks("three", "has refused this already")
    asks("four", "that is for the owner to allow", host="127.0.0.1:80")
