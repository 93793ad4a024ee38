"""Questions to people, and cards: a tool that waits for a person, through a real runner; the test is the host."""

import json
import signal

import pytest
from runner_stage import Host
from tool_stage import Stage

QUESTION: dict[str, object] = {
    "title": "Deploy?",
    "question": "Shall I deploy to production?",
    "options": ["Yes", {"label": "No", "selectedLabel": "Refused", "value": "no-value"}],
}


@pytest.fixture
def stage(host: Host) -> Stage:
    return Stage(host)


def begin(stage: Stage, **more: object) -> dict[str, object]:
    stage.calls(("ask_user_question", {**QUESTION, **more}), thread="t1")
    (row,) = stage.await_rows(1)
    stage.becomes(row, "delivered")
    return row


def test_a_question_waits_for_its_answer_and_returns_the_chosen_value(stage: Stage):
    """F-70, F-72, F-73, F-127: the value and nothing else; the answer's row is in no prompt, now or later."""
    row = begin(stage)
    assert row["kind"] == "card"
    assert (row["platform_id"], row["thread_id"]) == ("terminal", "t1")
    assert row["content"] == {
        "title": "Deploy?",
        "text": "Shall I deploy to production?",
        "options": [
            {"label": "Yes", "value": "Yes", "done": "Yes"},
            {"label": "No", "value": "no-value", "done": "Refused"},
        ],
        "reference": row["id"],
    }
    answer = stage.answer_question(row, "no-value")
    assert stage.answered() == "call ask_user_question: no-value"
    assert stage.host.acks()[answer] == "completed"
    stage.host.insert("anything else?")
    stage.ring()
    assert stage.answered(2) == "echo: anything else?"
    assert len(stage.rows()) == 3


def test_each_of_two_open_questions_gets_its_own_answer(stage: Stage):
    """F-73: an answer goes to the question that it is for; that to an earlier one, which nobody waits for, to none."""
    row = begin(stage)
    other = {"content": {"reference": "k-another", "title": "Another"}}
    stage.answer_question(other, "wrong")
    stage.answer_question(row, "Yes")
    assert stage.answered() == "call ask_user_question: Yes"
    assert "wrong" in stage.answered(2)


def test_a_question_that_nobody_answers_ends_with_a_word(stage: Stage):
    """F-71, W-6: the error names the seconds; an answer that comes later is a note like any other, and is finished."""
    row = begin(stage, timeout=1)
    assert "nobody has answered within 1 seconds" in stage.answered()
    late = stage.answer_question(row, "Yes")
    assert 'the answer to your question "Deploy?": Yes' in stage.answered(2)
    assert stage.host.acks()[late] == "completed"
    assert stage.host.outbound("SELECT * FROM session_state WHERE key LIKE 'question:%'") == []


def test_a_question_that_expired_at_the_host_is_not_an_answer(stage: Stage):
    stage.answer_question(begin(stage), "", expired=True)
    assert "nobody has answered" in stage.answered()


def test_a_question_that_cannot_be_shown_is_an_error_at_once(stage: Stage):
    stage.calls(("ask_user_question", QUESTION))
    stage.becomes(stage.await_rows(1)[0], "failed", reason="50 questions of this session are open already")
    assert "could not be delivered: 50 questions of this session are open already" in stage.answered()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"options": []}, "1 to 10 options"),
        ({"options": ["a"] * 11}, "1 to 10 options"),
        ({"options": ["a", "A."]}, "the same label"),
        ({"options": [1]}, "options"),
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 1790}, "this turn has time to wait 1769 seconds"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_card(stage: Stage, more: dict[str, object], words: str):
    """A question may not outlive the turn that asks it: the error says how long there is."""
    stage.calls(("ask_user_question", {**QUESTION, **more}))
    assert words in stage.answered()
    assert len(stage.rows()) == 1


def test_who_waits_for_a_person_is_not_silent(host: Host):
    """The watchdog for a silent model lets a question be; the same model is judged again when it has its answer."""
    stage = Stage(host, silence_seconds=0.3)
    row = begin(stage, timeout=30)
    stage.host.await_notification("STATUS=turn 1")
    with pytest.raises(AssertionError, match="no notification"):
        # Longer than the bound: nothing comes that ends the runner.
        _hears_stall(host)
    stage.answer_question(row, "Yes")
    assert stage.answered() == "call ask_user_question: Yes"


def _hears_stall(host: Host) -> None:
    host.notify.settimeout(1.5)
    try:
        while True:
            words = host.notify.recv(4096).decode()
            if "WATCHDOG=trigger" in words:
                return
    except TimeoutError:
        raise AssertionError("no notification that it has stalled") from None
    finally:
        host.notify.settimeout(None)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_question_outlives_its_container(host: Host, how: signal.Signals):
    """F-70: the repeated turn asks the same question: no second card, and the answer is waited for on."""
    stage = Stage(host)
    row = begin(stage)
    again = _restart(host, how)
    host.await_notification("answering")
    again.answer_question(row, "Yes")
    assert again.answered() == "call ask_user_question: Yes"
    assert len(again.rows()) == 2


def test_an_answer_that_came_between_two_containers_is_returned_at_once(host: Host):
    """F-72: even where the repeated turn comes later (after a back-off), no prompt takes its answer away."""
    stage = Stage(host)
    row = begin(stage)
    host.processes[-1].kill()
    host.processes[-1].wait()
    # The host has the message tried again later, and a person answers meanwhile.
    soon = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 second')"
    host.inbound.execute(f"UPDATE messages_in SET tries = 1, process_after = {soon} WHERE id = 'in-2'")
    answer = _answer_without_ring(stage, row)
    again = _start_again(host)
    assert again.answered() == "call ask_user_question: Yes"
    assert host.acks()[answer] == "completed"
    assert len(again.rows()) == 2


def test_an_answer_whose_turn_was_given_up_is_a_note(host: Host):
    """W-6: the host has ended the question's turn for good: its answer is told to the agent, and never stuck."""
    stage = Stage(host)
    row = begin(stage)
    host.processes[-1].kill()
    host.processes[-1].wait()
    host.inbound.execute("UPDATE messages_in SET status = 'failed' WHERE id = 'in-2'")
    _answer_without_ring(stage, row)
    again = _start_again(host)
    assert 'the answer to your question "Deploy?": Yes' in again.answered()


def test_an_answer_seen_before_the_kill_is_the_repeated_turns_too(host: Host):
    """The answer was handed over, and then the container died in the same turn: nobody is asked again."""
    stage = Stage(host)
    stage.host.insert(f"!call ask_user_question {json.dumps(QUESTION)}\n!sleep 30", identifier="in-2")
    stage.ring()
    (row,) = stage.await_rows(1)
    stage.becomes(row, "delivered")
    answer = stage.answer_question(row, "Yes")
    stage.until(lambda: host.acks().get(answer) == "completed")
    host.processes[-1].kill()
    host.processes[-1].wait()
    host.inbound.execute(f"UPDATE messages_in SET status = 'completed' WHERE id = '{answer}'")
    host.places.agent_config.touch()
    again = _start_again(host)
    again.until(lambda: host.acks().get("in-2") == "processing")
    frame = b""
    while b"ask_user_question: Yes" not in frame:
        frame = again.bell.recv(1 << 15)
    assert len(again.rows()) == 1


def test_a_card_shows_something_and_asks_nothing(stage: Stage):
    """F-75: it is sent at once; where there are no cards the fallback is said."""
    card = {"title": "Report", "text": "All is well.", "links": [{"label": "Details", "url": "https://x.test/"}]}
    stage.calls(("send_card", {"card": card, "fallbackText": "Report: all is well"}))
    (row,) = stage.await_rows(1)
    assert row["kind"] == "card"
    assert row["content"] == {
        "title": "Report",
        "text": "All is well.\n\n[Details](https://x.test/)",
        "fallback": "Report: all is well",
    }
    stage.becomes(row, "delivered")
    assert "delivered as #3" in stage.answered()


def test_a_card_without_a_title_is_refused(stage: Stage):
    stage.calls(("send_card", {"card": {"title": ""}}))
    assert "a card needs a title" in stage.answered()


def _answer_without_ring(stage: Stage, row: dict[str, object]) -> str:
    stage.ring = lambda: None  # type: ignore[method-assign]
    return stage.answer_question(row, "Yes")


def _restart(host: Host, how: signal.Signals) -> Stage:
    host.processes[-1].send_signal(how)
    host.processes[-1].wait()
    return _start_again(host)


def _start_again(host: Host) -> Stage:
    host.notifications.clear()
    return Stage(host)
