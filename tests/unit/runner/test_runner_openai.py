"""The ``openai`` provider, with the real client library against a real socket."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_endpoint import HURRIED, Endpoint, breaks_off, is_silent, refuses, says
from runner_stage import Host

from nanoclaw_runner.contract import doorbell
from nanoclaw_runner.providers.openai_history import Exchange, History


@pytest.fixture
def endpoint(host: Host) -> Iterator[Endpoint]:
    host.configure(provider="openai", endpoint="embedded", model="tiny", instructions="Be brief.")
    server = Endpoint(host.places.gateway_socket)
    yield server
    server.shutdown()
    server.server_close()


def ask(host: Host, connection: socket.socket, text: str) -> str:
    count = len(host.replies()) + 1
    host.insert(text)
    connection.send(doorbell.RING)
    return host.await_replies(connection, count)[-1]


def test_an_answer_is_streamed_and_written(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says("A ", "fork", ".", pause=0.15)]
    connection = host.connect()
    host.insert("Name a thing.")
    host.start_ready()
    shown = []
    while (partial := doorbell.decode(connection.recv(doorbell.MAX_FRAME_BYTES + 1))) is not None:
        shown.append(partial.text)
    assert shown[0] == "A "
    assert host.replies() == ["A fork."]
    assert endpoint.paths == ["/embedded/chat/completions"]
    assert endpoint.requests[0]["model"] == "tiny"
    assert endpoint.requests[0]["stream"] is True
    assert endpoint.said() == [("system", "Be brief."), ("user", "Ada: Name a thing.")]


def test_the_conversation_is_kept_across_restarts(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says("one"), says("two"), says("three")]
    process = host.start_ready()
    connection = host.connect()
    assert ask(host, connection, "1") == "one"
    assert ask(host, connection, "2") == "two"
    process.kill()
    process.wait()
    connection = host.connect()
    host.start_ready()
    assert ask(host, connection, "3") == "three"
    assert endpoint.said()[1:] == [
        ("user", "Ada: 1"),
        ("assistant", "one"),
        ("user", "Ada: 2"),
        ("assistant", "two"),
        ("user", "Ada: 3"),
    ]
    ((key, value),) = host.outbound("SELECT key, value FROM session_state")
    assert key == "continuation:openai"
    assert (host.places.home / "openai" / f"{value}.jsonl").exists()


def test_follow_ups_that_wait_together_are_answered_together(host: Host, endpoint: Endpoint):
    host.configure(provider="openai", max_messages_per_prompt=2)
    endpoint.behaviours = [says("first", pause=1.0), says("both"), says("last")]
    host.start_ready()
    connection = host.connect()
    host.insert("begin")
    connection.send(doorbell.RING)
    host.await_ring_until(connection, lambda: len(host.acks()) == 1)
    for number, text in enumerate(("a", "b", "c"), start=2):
        host.insert(text)
        connection.send(doorbell.RING)
        while len(host.acks()) < number:
            continue
    assert host.await_replies(connection, 3) == ["first", "both", "last"]
    assert endpoint.said(1)[-1] == ("user", "Ada: a\nAda: b")
    assert endpoint.said(2)[-1] == ("user", "Ada: c")
    assert [row[0] for row in host.outbound("SELECT in_reply_to FROM messages_out ORDER BY seq")] == [
        *("in-2", "in-6", "in-8")
    ]


def test_a_refusal_is_told_in_the_gateways_words(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [refuses(403, "group main may not use the endpoint embedded")]
    host.start_ready()
    answer = ask(host, host.connect(), "hi")
    expected = "the model embedded/tiny refused this (HTTP 403): group main may not use the endpoint embedded"
    assert answer == f"Error: {expected}"


def test_a_passing_failure_is_tried_again(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [refuses(503, "loading"), says("there")]
    host.start_ready(BEFORE_RUNNER=HURRIED)
    assert ask(host, host.connect(), "hi") == "there"


def test_what_the_gateway_calls_vain_is_not_tried_again(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [refuses(503, "no such model here", x_should_retry="false"), says("never")]
    host.start_ready()
    assert "(no such model here)" in ask(host, host.connect(), "hi")
    assert len(endpoint.requests) == 1


def test_an_absent_gateway_is_told(host: Host):
    host.configure(provider="openai", model="tiny")
    host.start_ready(BEFORE_RUNNER=HURRIED)
    assert ask(host, host.connect(), "hi").startswith("Error: the model embedded/tiny cannot be reached: ")


def test_silence_past_the_bound_is_an_error(host: Host, endpoint: Endpoint):
    host.configure(provider="openai", model="tiny", silence_seconds=2.0)
    endpoint.behaviours = [is_silent(30)]
    host.start_ready()
    assert ask(host, host.connect(), "hi") == "Error: the model embedded/tiny gave no sign for 2 s"
    assert not [words for words in host.notifications if "trigger" in words]


def test_a_slow_answer_is_no_error(host: Host, endpoint: Endpoint):
    """No fixed total timeout: the answer takes longer than the bound on silence."""
    host.configure(provider="openai", silence_seconds=1.0)
    endpoint.behaviours = [says("s", "l", "o", "w", pause=0.5)]
    host.start_ready()
    assert ask(host, host.connect(), "hi") == "slow"


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (breaks_off("half an ans", error="the endpoint broke off"), "failed: the endpoint broke off"),
        (breaks_off("half"), "failed: its answer broke off"),
    ],
)
def test_a_broken_answer_is_never_passed_off_as_whole(host: Host, endpoint: Endpoint, behaviour: object, words: str):
    endpoint.behaviours = [behaviour]  # type: ignore[list-item]
    host.start_ready()
    answer = ask(host, host.connect(), "hi")
    assert answer.startswith("Error: ")
    assert words in answer


def test_no_credential_is_sent(host: Host, endpoint: Endpoint):
    host.start_ready(OPENAI_API_KEY="from-the-environment", HTTP_PROXY="http://127.0.0.1:9")
    ask(host, host.connect(), "hi")
    assert "from-the-environment" not in str(endpoint.headers)


def test_a_repeated_turn_does_not_remember_itself(host: Host):
    history = History(host.places.home / "openai" / "x.jsonl")
    history.add(Exchange("in-2", "question", "first try"))
    assert history.past(without=["in-2"]).exchanges == ()
    history.add(Exchange("in-2", "question", "second try"))
    assert [exchange.assistant for exchange in history.past().exchanges] == ["second try"]


@given(st.integers(0, 200), st.binary(max_size=40))
def test_a_torn_file_loses_only_what_was_torn(tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes):
    path = tmp_path_factory.mktemp("history") / "x.jsonl"
    history = History(path)
    whole = Exchange("in-2", "question", "answer")
    history.add(whole)
    kept = path.read_bytes()
    history.add(Exchange("in-4", "torn", "torn"))
    torn = path.read_bytes()
    path.write_bytes(torn[: max(len(kept), len(torn) - 1 - cut)] + garbage.replace(b"\n", b""))
    history.add(Exchange("in-6", "after", "after"))
    assert history.past().exchanges[0] == whole
    assert history.past().exchanges[-1] == Exchange("in-6", "after", "after")
