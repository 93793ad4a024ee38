"""Bindings of secrets: what the gateway and each agent are told of them, and when."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from machine import House

import nanoclawd
from nanoclawd.agents import provision
from nanoclawd.agents.provision import Provisioner, Published
from nanoclawd.agents.secrets import SecretBindings, SecretWish
from nanoclawd.agents.service import AgentService
from nanoclawd.config import Config
from nanoclawd.egress.secrets import Place, Secret
from nanoclawd.errors import InvalidName, NotFound, TooLarge, Unavailable
from nanoclawd.store import egress, secrets
from nanoclawd.store.egress import NewRule
from nanoclawd.store.secrets import MAX_SECRETS, Exchange
from nanoclawd.supervision.quadlets import UnitFiles

ROOT = Path(nanoclawd.__file__).parents[1]
ANNA = "terminal:anna"


@dataclass
class Town:
    house: House
    agents: AgentService
    bindings: SecretBindings
    agents_file: Path

    def published(self) -> list[Secret]:
        """The secrets as the gateway reads them."""
        found: Any = json.loads(self.agents_file.read_text())
        assert found["version"] == 3
        return msgspec.convert(found["secrets"], list[Secret])

    def told(self, group: str) -> str:
        """What a group's agent begins with."""
        return self.house.paths.agent_memory(group).read_text()


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    agents_file = tmp_path / "agents.json"
    monkeypatch.setattr(provision, "AGENTS_FILE", agents_file)
    house = House(tmp_path)
    await house.open()
    units = UnitFiles(ROOT / "quadlets", house.paths)
    agents = AgentService(
        Config(allow_scripted=True),
        house.paths,
        house.database,
        house.sessions,
        house.machine,
        units,
        Provisioner(house.paths, units, Config(allow_scripted=True)),
    )
    await agents.publish(Published("c0ffee", "localhost/nanoclaw-agent:0123456789ab"))
    for name in ("home", "work"):
        await agents.create(name, provider="scripted")
    yield Town(house, agents, SecretBindings(house.database, agents), agents_file)
    await house.end()


def wish(name: str = "github", hosts: tuple[str, ...] = ("api.github.com",), **more: Any) -> SecretWish:
    return SecretWish(**{"name": name, "hosts": hosts, "groups": ("home",), "style": "bearer", **more})


async def test_a_binding_is_published_when_the_call_returns(town: Town):
    """F-106, W-46: a new group's requests have what is for all groups from the first one on, by no further act."""
    _, replaced = await town.bindings.bind(wish(groups=("all",)), ANNA)
    assert not replaced
    assert town.published() == [Secret("github", (Place("api.github.com"),))]
    await town.agents.create("new", provider="scripted")
    assert town.published()[0].is_for("new")
    assert "https://api.github.com: `github`, as a bearer token" in town.told("new")


async def test_an_agent_is_told_of_its_own_and_no_others(town: Town):
    """F-146: and what its owner types, whatever it has."""
    before = town.told("work")
    await town.bindings.bind(wish(style="placeholder", hosts=("a.example", "http://nas.lan:5000/api")), ANNA)
    assert "write `nanoclaw-secret-github` where the secret belongs" in town.told("home")
    assert "http://nas.lan:5000/api" in town.told("home")
    assert town.told("work") == before
    assert "Never ask for a key, a password or a token in a chat" in before
    assert "`ncl secret set NAME --host HOST --group work`" in before
    await town.bindings.remove("github", ANNA)
    assert "nanoclaw-secret" not in town.told("home")
    assert town.published() == []


async def test_a_secret_of_a_group_that_is_deleted_is_nobodys(town: Town):
    """A group of the same name is another one, and gets nothing of it. F-130: a group is known by its id."""
    await town.bindings.bind(wish(groups=("home", "work")), ANNA)
    await town.agents.delete("home", force=True)
    assert town.published()[0].groups == ("work",)
    await town.agents.delete("work", force=True)
    assert town.published()[0].groups == ()
    await town.agents.create("home", provider="scripted")
    assert not town.published()[0].is_for("home")
    assert "github" not in town.told("home")


async def test_a_group_that_is_called_all_is_named_by_its_id(town: Town):
    group = await town.agents.create("all", provider="scripted")
    await town.bindings.bind(wish(groups=(group.id,)), ANNA)
    assert town.published()[0].groups == ("all",)
    await town.bindings.renewed("github", "terminal:ben")
    assert town.published()[0].groups == ("all",)


async def test_what_is_bound_again_takes_the_place_and_keeps_its_beginning(town: Town):
    first, _ = await town.bindings.bind(wish(), ANNA)
    second, replaced = await town.bindings.bind(wish(hosts=("b.example",), groups=("work",)), "terminal:ben")
    assert replaced
    assert (second.row.created_by, second.row.changed_by) == (ANNA, "terminal:ben")
    assert second.row.created_at == first.row.created_at
    assert town.published() == [Secret("github", (Place("b.example"),), ("work",))]


async def test_check_says_what_would_be_and_changes_nothing(town: Town):
    found, replaced = await town.bindings.check(wish())
    assert (found.row.secret.name, replaced) == ("github", False)
    assert await town.bindings.listed(None) == []
    assert town.published() == []
    await town.bindings.bind(wish(), ANNA)
    assert (await town.bindings.check(wish(groups=("work",))))[1]
    assert town.published()[0].groups == ("home",)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"groups": ("nobody",)}, NotFound),
        ({"groups": ()}, InvalidName),
        ({"groups": ("all", "home")}, InvalidName),
        ({"hosts": ()}, InvalidName),
        ({"hosts": ("*",)}, InvalidName),
        ({"name": "ghp_Secret"}, InvalidName),
        ({"style": "header:Host"}, InvalidName),
        ({"exchange": Exchange("http://a.example/token", "id")}, InvalidName),
    ],
)
async def test_what_can_t_be_read_leaves_nothing(town: Town, change: dict[str, Any], error: type[Exception]):
    for ask in (town.bindings.check(wish(**change)), town.bindings.bind(wish(**change), ANNA)):
        with pytest.raises(error):
            await ask
    assert await town.bindings.listed(None) == []


async def test_there_is_a_bound(town: Town):
    for number in range(MAX_SECRETS):
        await town.house.database.run(_bind_plainly, f"s{number}")
    with pytest.raises(TooLarge):
        await town.bindings.bind(wish(), ANNA)
    await town.bindings.bind(wish("s0", ("b.example",)), ANNA)
    assert len(town.published()) == MAX_SECRETS


async def test_what_is_written_and_could_not_be_published_is_by_the_next_change(town: Town, tmp_path: Path):
    blocked = tmp_path / "agents.json"
    blocked.unlink()
    blocked.mkdir()
    with pytest.raises(Unavailable):
        await town.bindings.bind(wish(), ANNA)
    assert [one.row.secret.name for one in await town.bindings.listed(None)] == ["github"]
    blocked.rmdir()
    await town.bindings.bind(wish("other"), ANNA)
    assert [one.name for one in town.published()] == ["github", "other"]


async def test_hosts_that_no_rule_allows_come_with_what_to_type(town: Town):
    hosts = ("a.example", "*.b.example:8443", "http://nas.lan:5000", "http://192.168.1.7", "c.example/v1")
    found, _ = await town.bindings.bind(wish(hosts=hosts), ANNA)
    assert [one.allow for one in found.closed] == [
        "ncl egress allow home a.example",
        "ncl egress allow home '*.b.example:8443'",
        "ncl egress allow home nas.lan:5000 --private",
        "ncl egress allow home 192.168.1.7:80 --private",
        "ncl egress allow home c.example",
    ]
    await town.house.database.run(egress.put, NewRule(None, "allow", "*"), ANNA)
    assert [one.place.host for one in (await town.bindings.get("github")).closed] == [
        "*.b.example",
        "nas.lan",
        "192.168.1.7",
    ]


async def test_a_trial_says_both_whether_it_may_go_and_whether_it_gets_the_secret(town: Town):
    await town.bindings.bind(wish(hosts=("a.example/v1", "http://nas.lan:5000")), ANNA)
    await town.house.database.run(egress.put, NewRule(None, "allow", "a.example"), ANNA)

    async def tried(url: str | None, group: str | None = None) -> list[tuple[str, bool, bool]]:
        return [(one.group, one.fits, one.allowed) for one in await town.bindings.try_out("github", url, group)]

    assert await tried(None) == [("home", True, True), ("home", True, False)]
    assert await tried("https://a.example/v1/me?x=1") == [("home", True, True)]
    assert await tried("a.example/v2") == [("home", False, True)]
    assert await tried("http://a.example/v1") == [("home", False, True)]
    assert await tried("https://a.example/v1/../v2") == [("home", False, True)]
    await town.house.database.run(egress.put, NewRule(None, "ask", "nas.lan", 5000, private=False), ANNA)
    (held,) = await town.bindings.try_out("github", "http://nas.lan:5000/api", None)
    assert (held.fits, held.allowed, held.asks, held.allow) == (True, False, True, "")
    assert (await town.bindings.get("github")).closed == ()
    assert await tried("https://a.example/v1", "work") == [("work", False, True)]
    for url in ("https://u:p@a.example/", "a b", "ftp://a.example"):
        with pytest.raises(InvalidName):
            await tried(url)


def _bind_plainly(connection: apsw.Connection, name: str) -> None:
    secrets.put(connection, secrets.NewSecret(name, (Place("a.example"),), None, "bearer"), ANNA)
