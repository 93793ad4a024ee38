"""Endpoints that speak Anthropic's API: other paths, other headers, another kind of key."""

import pytest
from aiohttp import web
from gateway_stage import KEY, Running, Upstream, error_of

from nanoclawd.config import Endpoint

MESSAGES = "v1/messages?beta=true"


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        ("claude", {"X-Api-Key": KEY}),
        ("claude-bearer", {"Authorization": f"Bearer {KEY}"}),
        ("claude-token", {"Authorization": f"Bearer {KEY}"}),
    ],
)
async def test_the_key_is_sent_as_the_endpoint_wants_it(
    gateway: Running, upstream: Upstream, endpoint: str, wanted: dict[str, str]
):
    mine = {"X-Api-Key": "mine", "Authorization": "Bearer mine"}
    async with gateway.client() as client, client.post(f"{endpoint}/{MESSAGES}", data=b"{}", headers=mine) as answer:
        assert answer.status == 200
    sent = {name: value for name, value in upstream.headers[0].items() if name in mine}
    assert sent == wanted


async def test_versions_and_flags_go_through_and_a_token_gets_its_own(gateway: Running, upstream: Upstream):
    headers = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "one-2025,oauth-2025-04-20,two-2025",
        "X-App": "cli",
    }
    async with gateway.client() as client:
        for endpoint in ("claude", "claude-token"):
            async with client.post(f"{endpoint}/{MESSAGES}", data=b"{}", headers=headers) as answer:
                assert answer.status == 200
    plain, token = ({name.lower(): value for name, value in sent.items()} for sent in upstream.headers)
    assert plain["anthropic-version"] == token["anthropic-version"] == "2023-06-01"
    assert plain["anthropic-beta"] == headers["anthropic-beta"]
    assert token["anthropic-beta"] == "one-2025,two-2025,oauth-2025-04-20"
    assert "x-app" not in plain


async def test_only_its_own_paths_are_forwarded(gateway: Running, upstream: Upstream):
    async with gateway.client() as client:
        for path in ("v1/messages/count_tokens", "v1/models"):
            async with client.get(f"claude/{path}") as answer:
                assert answer.status == 200
        for path in ("chat/completions", "v1/files", "v1/organizations/api_keys"):
            async with client.get(f"claude/{path}") as answer:
                assert (answer.status, error_of(await answer.read())["type"]) == (403, "path_not_allowed")
    assert len(upstream.targets) == 2


async def test_what_a_client_obeys_comes_back(gateway: Running, upstream: Upstream):
    async def limited(_: web.Request) -> web.Response:
        headers = {"request-id": "r", "retry-after": "7", "anthropic-ratelimit-tokens-reset": "t"}
        headers |= {"x-should-retry": "true", "anthropic-organization-id": "o", "set-cookie": "a=b"}
        return web.json_response({"type": "error"}, status=429, headers=headers)

    upstream.answer = limited
    async with gateway.client() as client, client.post(f"claude/{MESSAGES}", data=b"{}") as answer:
        assert answer.status == 429
        found = {name.lower(): value for name, value in answer.headers.items()}
    assert found["retry-after"] == "7"
    assert {"request-id", "anthropic-ratelimit-tokens-reset", "x-should-retry"} <= set(found)
    assert not {"anthropic-organization-id", "set-cookie"} & set(found)


async def test_a_refused_key_is_said_in_our_words_and_not_tried_again(gateway: Running, upstream: Upstream):
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"type": "error", "error": {"message": f"invalid x-api-key {KEY}"}}, status=401)

    upstream.answer = refuse
    async with gateway.client() as client, client.post(f"claude/{MESSAGES}", data=b"{}") as answer:
        body = await answer.json()
        assert answer.headers["x-should-retry"] == "false"
    assert body["type"] == "error"  # what Anthropic's clients look for
    assert body["error"]["message"] == 'endpoint claude does not accept the API key "api-key"'


async def test_an_answer_that_breaks_off_ends_with_an_event_of_its_kind(gateway: Running, upstream: Upstream):
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"event: ping\ndata: {}\n\n")
        assert request.transport is not None
        request.transport.close()
        return response

    upstream.answer = cut
    request = f"POST /claude/{MESSAGES} HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    answer = await gateway.raw(request.encode())
    assert b'event: error\ndata: {"type":"error","error":{"message":"endpoint claude broke off' in answer


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        (Endpoint(url="http://a", auth="bearer"), "auth says how a credential is sent, and there is none"),
        (Endpoint(url="http://a", auth="oauth", credential="k"), "auth: oauth is for api: anthropic"),
        (Endpoint(url="http://a", api="anthropic", auth="oauth", credential="k"), None),
    ],
)
def test_contradictions_in_the_configuration(endpoint: Endpoint, problem: str | None):
    assert endpoint.problem() == problem
