"""Endpoints that are MCP servers: their path, and what their protocol says in headers."""

from aiohttp import web
from gateway_stage import KEY, Running, Upstream, error_of


async def test_a_sessions_name_goes_both_ways_and_the_key_is_the_gateways(gateway: Running, upstream: Upstream):
    async def speaks(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"Mcp-Session-Id": "s-1", "Set-Cookie": "a=b"})

    upstream.answer = speaks
    mine = {
        "Mcp-Session-Id": "s-1",
        "MCP-Protocol-Version": "2025-06-18",
        "Last-Event-ID": "7",
        "Authorization": "mine",
    }
    async with gateway.client() as client, client.post("notes/mcp", data=b"{}", headers=mine) as answer:
        assert answer.status == 200
        assert answer.headers["Mcp-Session-Id"] == "s-1"
        assert "Set-Cookie" not in answer.headers
    sent = {name.lower(): value for name, value in upstream.headers[0].items()}
    assert (sent["mcp-session-id"], sent["mcp-protocol-version"], sent["last-event-id"]) == ("s-1", "2025-06-18", "7")
    assert sent["authorization"] == f"Bearer {KEY}"


async def test_only_the_servers_path_is_forwarded(gateway: Running, upstream: Upstream):
    async with gateway.client() as client:
        for path in ("chat/completions", "v1/messages", "admin"):
            async with client.post(f"notes/{path}", data=b"{}") as answer:
                assert (answer.status, error_of(await answer.read())["type"]) == (403, "path_not_allowed")
    assert not upstream.targets
