"""What people, operators and the model's owner hear when an OpenAI-compatible endpoint fails."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from model_endpoint import HURRIED, Endpoint, breaks_off, never_ends, refuses, says, sends
from runner_stage import Host
from tool_stage import Stage

from nanoclaw_runner.providers.openai_stream import MAX_ANSWER_CHARACTERS
from nanoclaw_runner.providers.retrying import MAX_WAITING_SECONDS, Patience, hint_of, may_retry, spoken

MODEL = "Error: the model embedded/tiny"
SECRET_BODY = "<html><body>Traceback (most recent call last): upstream 10.0.0.7</body></html>"


@pytest.fixture
def endpoint(host: Host) -> Iterator[Endpoint]:
    server = Endpoint(host.places.gateway_socket)
    yield server
    server.shutdown()
    server.server_close()


def stage_of(host: Host, **config: object) -> Stage:
    return Stage(host, **{"provider": "openai", "model": "tiny", **config})


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the runner wait for next to nothing where an endpoint gives no hint."""
    monkeypatch.setenv("BEFORE_RUNNER", HURRIED)


def ask(stage: Stage, text: str = "hi", count: int = 1) -> str:
    stage.host.insert(text)
    stage.ring()
    return stage.answered(count)


def troubles(host: Host) -> list[str]:
    return [content["kind"] for content in host.contents("system") if content.get("action") == "trouble"]


@pytest.mark.parametrize("status", [429, 503, 529, 408, 500])
def test_a_passing_failure_is_asked_again_with_the_providers_own_hint(host: Host, endpoint: Endpoint, status: int):
    """W-36: the person gets the answer, not the failure."""
    endpoint.behaviours = [refuses(status, "busy", retry_after_ms="20"), refuses(status, "busy", retry_after="0")]
    endpoint.behaviours += [says("there")]
    assert ask(stage_of(host)) == "there"
    assert len(endpoint.requests) == 3
    assert troubles(host) == []


def test_what_nobody_serves_is_told_within_seconds(host: Host, endpoint: Endpoint):
    """Nobody behind the gateway: that does not mend itself, so no person is kept waiting for half a minute."""
    body = b'{"type": "error", "error": {"message": "endpoint embedded fails", "type": "endpoint_unreachable"}}'
    endpoint.behaviours = [sends(body, "application/json", 502, retry_after="0") for _ in range(6)]
    assert ask(stage_of(host)) == f"{MODEL} failed (HTTP 502): endpoint embedded fails"
    assert len(endpoint.requests) == 3
    assert troubles(host) == ["network"]


@pytest.mark.parametrize(
    ("status", "trouble", "words"),
    [
        (429, "rate-limit", "is at its rate limit (slow down): please try again in 60 minutes"),
        (529, "overloaded", "is overloaded or not ready (slow down): please try again in a while"),
    ],
)
def test_who_is_told_to_come_back_much_later_says_so_at_once(
    host: Host, endpoint: Endpoint, status: int, trouble: str, words: str
):
    """W-36: bounded in time, in words, and known to the operator."""
    endpoint.behaviours = [refuses(status, "slow down", retry_after="3600"), says("Now.")]
    stage = stage_of(host)
    assert ask(stage) == f"{MODEL} {words}"
    assert troubles(host) == [trouble]
    assert ask(stage, "again", 2) == "Now."


@pytest.mark.parametrize("message", ["Incorrect API key provided", 'endpoint embedded does not accept the API key "k"'])
def test_a_refused_credential_says_who_can_mend_it(host: Host, endpoint: Endpoint, message: str):
    endpoint.behaviours = [refuses(401, message)]
    answer = ask(stage_of(host))
    assert answer == f"{MODEL} cannot be asked: {message}. The operator can run: ncl status"
    assert troubles(host) == ["credentials"]
    assert len(endpoint.requests) == 1


def test_a_missing_credential_is_one_too(host: Host, endpoint: Endpoint):
    body = b'{"error": {"message": "the API key \\"k\\" is not stored", "type": "credential_missing"}}'
    endpoint.behaviours = [sends(body, "application/json", 503, x_should_retry="false")]
    assert 'the API key "k" is not stored' in ask(stage_of(host))
    assert troubles(host) == ["credentials"]


@pytest.mark.parametrize("status", [400, 403])
def test_a_refused_request_is_told_in_words(host: Host, endpoint: Endpoint, status: int):
    endpoint.behaviours = [refuses(status, "this is against the content policy")]
    assert ask(stage_of(host)) == f"{MODEL} refused this (HTTP {status}): this is against the content policy"
    assert troubles(host) == ["refused"]


@pytest.mark.parametrize("status", [400, 401, 403, 501])
def test_a_body_is_never_shown(host: Host, endpoint: Endpoint, status: int):
    """W-36: words, whatever an endpoint answers with."""
    endpoint.behaviours = [sends(SECRET_BODY.encode(), "text/html", status)]
    answer = ask(stage_of(host))
    assert answer.startswith(MODEL)
    assert "html" not in answer
    assert "10.0.0.7" not in answer


def test_an_answer_of_nothing_is_asked_for_again_and_then_reported(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says(), says("Something.")]
    stage = stage_of(host)
    assert ask(stage) == "Something."
    endpoint.behaviours = [says(), says("  ")]
    assert ask(stage, "again", 2) == f"{MODEL} answered nothing"


@pytest.mark.parametrize(
    "body",
    [
        b"data: {broken\n\n",
        b"data: 7\n\n",
        b'data: {"choices": 7, "usage": null, "model": 1}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [7]}}]}\n\n',
        b"\x00\x01\x02",
        b"data: [DONE]\n\n",
    ],
)
@pytest.mark.usefixtures("hurried")
def test_garbage_is_reported_and_the_session_lives(host: Host, endpoint: Endpoint, body: bytes):
    endpoint.behaviours = [sends(body)] * 3
    stage = stage_of(host)
    answer = ask(stage)
    assert answer.startswith(f"{MODEL} failed: ")
    assert ask(stage, "again", 2) == "ok"


@pytest.mark.usefixtures("hurried")
def test_a_stream_that_breaks_before_its_first_word_is_asked_again(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [sends(b"data: {broken\n\n"), says("whole")]
    assert ask(stage_of(host)) == "whole"


def test_an_event_of_10_mb_is_refused(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [sends(b'data: {"choices": "' + b"x" * 10_000_000)]
    stage = stage_of(host)
    assert ask(stage) == f"{MODEL} failed: its answer is larger than any answer may be"
    assert ask(stage, "again", 2) == "ok"


def test_endless_text_is_cut_with_a_mark(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [never_ends("blah " * 20_000), says("It said blah."), says("Next.")]
    stage = stage_of(host)
    answer = ask(stage)
    assert len(answer) <= MAX_ANSWER_CHARACTERS + 200
    assert "cut" in answer[-200:]
    assert ask(stage, "again", 2) == "Next."


def test_an_answer_at_its_length_limit_has_a_mark(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says("Once upon", ended="length")]
    assert ask(stage_of(host)) == "Once upon\n[cut here: the model's answer reached its length limit]"


def test_a_filtered_answer_is_told_as_a_refusal(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says(ended="content_filter")]
    assert ask(stage_of(host)) == f"{MODEL} refused this: its provider's rules do not allow an answer"


def test_a_stall_in_the_middle_is_told(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says("a", "b", pause=5.0)]
    assert ask(stage_of(host, silence_seconds=1.0)) == f"{MODEL} gave no sign for 1 s"
    assert troubles(host) == ["network"]


def test_a_broken_off_answer_is_told(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [breaks_off("half")]
    assert ask(stage_of(host)).startswith(f"{MODEL} failed: ")


def test_a_refused_effort_is_left_out(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [refuses(400, "reasoning_effort is not supported by this model"), says("fine")]
    assert ask(stage_of(host, effort="high")) == "fine"
    assert [request.get("reasoning_effort") for request in endpoint.requests] == ["high", None]


def test_hints_are_read_in_all_their_forms():
    now = datetime(2026, 7, 1, 12, tzinfo=UTC)
    later = (now + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert hint_of({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert hint_of({"retry-after": "9"}) == 9
    assert hint_of({"retry-after": later}, now) == 90
    assert hint_of({"retry-after": "-3"}) == 0
    assert hint_of({"retry-after": "soon"}) is None
    assert hint_of({"retry-after": "nan"}) is None
    assert hint_of({}) is None


def test_the_endpoints_word_counts_more_than_its_status():
    assert may_retry(400, {"x-should-retry": "true"})
    assert not may_retry(503, {"x-should-retry": "false"})
    assert may_retry(529, {})
    assert not may_retry(404, {})


def test_patience_ends():
    patience = Patience()
    pauses = []
    while (pause := patience.next_pause(None)) is not None:
        pauses.append(pause)
    assert len(pauses) == 5
    assert sum(pauses) < MAX_WAITING_SECONDS
    assert all(later > earlier for earlier, later in pairwise(pauses))
    assert Patience().next_pause(MAX_WAITING_SECONDS + 1) is None


@pytest.mark.parametrize(("seconds", "words"), [(0.1, "1 second"), (5, "5 seconds"), (91, "2 minutes")])
def test_times_are_spoken(seconds: float, words: str):
    assert spoken(seconds) == words
