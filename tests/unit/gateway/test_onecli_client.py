"""The client of OneCLI, before a server that answers what the published client asks.

F-106: an agent is made before its configuration is asked for. F-130: by the group's own id. Reference: 8.9.
"""

import asyncio
import json
from pathlib import Path

import pytest
from onecli_stage import GROUP_ID, onecli, settings

from nanoclawd.config import OneCli
from nanoclawd.gateway.onecli.access import checked_certificate, read_access
from nanoclawd.gateway.onecli.client import OneCliClient, OneCliError
from nanoclawd.gateway.onecli.messages import ContainerConfig
from onecli_api.routes import Answer, Request
from onecli_api.world import Approval


async def test_an_agent_is_made_once_and_one_that_is_there_is_no_fault(tmp_path: Path):
    async with onecli(tmp_path) as api, OneCliClient(settings(api), api.world.key) as client:
        made = await client.create_agent(GROUP_ID, "Tests")
        assert made == api.world.agents[GROUP_ID].id
        assert await client.create_agent(GROUP_ID, "another name") is None
        assert api.world.agents[GROUP_ID].name == "Tests"


async def test_what_a_container_would_be_given(tmp_path: Path):
    async with onecli(tmp_path) as api, OneCliClient(settings(api), api.world.key) as client:
        await client.create_agent(GROUP_ID, "Tests")
        given = await client.container_config(GROUP_ID)
        assert given.ca_certificate == api.authority.pem
        assert checked_certificate(given.ca_certificate) == api.authority.pem
        access = read_access(given, settings(api), await client.gateway_url())
        assert (access.host, access.port) == ("127.0.0.1", api.gateway_port)
        assert api.world.agents[GROUP_ID].token not in repr(access)
        with pytest.raises(OneCliError, match="404"):
            await client.container_config("nobody")


async def test_the_containers_word_for_its_machine_means_onecli_own(tmp_path: Path):
    async with (
        onecli(tmp_path, says="host.docker.internal") as api,
        OneCliClient(settings(api), api.world.key) as client,
    ):
        await client.create_agent(GROUP_ID, "Tests")
        given = await client.container_config(GROUP_ID)
        access = read_access(given, settings(api), "http://box.lan:10255")
        assert (access.host, access.port) == ("box.lan", api.gateway_port)
        access = read_access(given, settings(api, proxy="http://other.lan:1"), "http://box.lan:10255")
        assert (access.host, access.port) == ("other.lan", 1)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://127.0.0.1:1",
        "https://x:t@127.0.0.1:1",
        "http://x:t@h:99999",
        "http://x:a%0d%0ab@h:1",
        "socks5://x:t@h:1",
    ],
)
def test_a_proxy_that_cannot_be_used_is_said_so(address: str):
    with pytest.raises(OneCliError, match="OneCLI"):
        read_access(ContainerConfig({"HTTPS_PROXY": address}, ""), OneCli(), "http://127.0.0.1:1")


@pytest.mark.parametrize(
    "pem", ["", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_is_not_trusted(pem: str):
    with pytest.raises(OneCliError, match="no certificate"):
        checked_certificate(pem)


def test_only_the_certificate_itself_is_taken():
    block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    assert checked_certificate(f"words\n{block}\n# more\n{block}\n") == f"{block}\n"


async def test_a_wrong_key_is_said_so_with_what_to_do(tmp_path: Path):
    async with onecli(tmp_path) as api, OneCliClient(settings(api), "oc_wrong") as client:
        with pytest.raises(OneCliError, match="does not take our API key") as caught:
            await client.gateway_url()
        assert caught.value.fix == "ncl credentials put nanoclaw-gateway.onecli"
        assert caught.value.is_about_all
        assert "oc_wrong" not in str(caught.value)


async def test_who_is_not_there_is_said_so_without_a_secret(tmp_path: Path):
    async with onecli(tmp_path) as api, OneCliClient(settings(api), api.world.key) as client:
        await api.stop()
        with pytest.raises(OneCliError, match="cannot be reached at http") as caught:
            await client.create_agent(GROUP_ID, "Tests")
        assert caught.value.is_about_all
        assert api.world.key not in str(caught.value)


async def test_a_poll_is_answered_as_soon_as_something_waits_and_leaves_out_what_is_known(tmp_path: Path):
    async with onecli(tmp_path) as api, OneCliClient(settings(api), api.world.key) as client:
        await client.create_agent(GROUP_ID, "Tests")
        agent, gateway = api.world.agents[GROUP_ID], await client.gateway_url()
        polling = asyncio.create_task(client.pending(gateway))
        first = Approval(agent, "POST", "api.example", "/send", {"a": "b"}, "hello", 300.0)
        holding = [asyncio.create_task(api.world.hold(first))]
        found = (await polling).requests
        assert [(one.id, one.method, one.host, one.path) for one in found] == [
            (first.id, "POST", "api.example", "/send")
        ]
        assert (found[0].agent.external_id, found[0].body_preview) == (GROUP_ID, "hello")
        polling = asyncio.create_task(client.pending(gateway, frozenset({first.id})))
        second = Approval(agent, "GET", "api.example", "/", {}, None, 300.0)
        holding.append(asyncio.create_task(api.world.hold(second)))
        assert [one.id for one in (await polling).requests] == [second.id]
        assert await client.decide(gateway, first.id, approve=True)
        assert await client.decide(gateway, second.id, approve=False)
        assert await asyncio.gather(*holding) == ["approve", "deny"]


async def test_a_decision_that_comes_late_is_no_fault(tmp_path: Path):
    """F-117: after OneCLI's own time (410) nothing happens."""
    async with onecli(tmp_path) as api, OneCliClient(settings(api), api.world.key) as client:
        assert not await client.decide(await client.gateway_url(), "gone", approve=True)
        assert api.world.late == ["gone"]


async def test_a_poll_in_which_nothing_happens_ends_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onecli_api.routes.POLL_SECONDS", 0.05)
    async with onecli(tmp_path) as api, OneCliClient(settings(api), api.world.key) as client:
        assert (await client.pending(await client.gateway_url())).requests == ()


async def test_an_organizations_key_names_its_project(tmp_path: Path):
    heads: list[dict[str, str]] = []
    async with onecli(tmp_path) as api:
        answering = api.routes.answer

        async def remember(request: Request) -> Answer:
            heads.append(request.headers)
            return await answering(request)

        api.routes.answer = remember  # type: ignore[method-assign]
        async with OneCliClient(settings(api, project="proj-1"), api.world.key) as client:
            await client.gateway_url()
    assert heads[0]["x-project-id"] == "proj-1"
    assert heads[0]["authorization"].startswith("Bearer oc_")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"url": 1}', json.dumps({"url": "x" * 600}).encode()])
async def test_an_answer_that_is_not_the_published_one_is_said_so(tmp_path: Path, body: bytes):
    class Odd(Answer):
        @property
        def content(self) -> bytes:
            return body

    async with onecli(tmp_path) as api:

        async def odd(_request: Request) -> Answer:
            return Odd(200)

        api.routes.answer = odd  # type: ignore[method-assign]
        async with OneCliClient(settings(api), api.world.key) as client:
            with pytest.raises(OneCliError, match="not the published one"):
                await client.gateway_url()
