"""All back-offs of a message that hangs its runner, in real time: four minutes. Only ``make soak`` runs this."""

from collections.abc import Iterator

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import Person, container_starts, processes, rows, session_of

WATCHDOG_SECONDS = 5
BACKOFFS = (5, 10, 20, 40, 80)


@pytest.fixture(scope="module", autouse=True)
def _short_watchdog() -> Iterator[None]:
    with appliance.configured(timeouts={"watchdog": WATCHDOG_SECONDS}):
        yield


def test_a_message_that_hangs_its_runner_is_tried_six_times_and_reported(person: Person) -> None:
    """F-96, F-97 and acceptance 4: retried at most five times, 5, 10, 20, 40, 80 s apart; then the person is told."""
    message = person.send("!hang")
    outcome = person.outcome(message, sum(BACKOFFS) + 6 * (WATCHDOG_SECONDS * 2 + 5))
    assert outcome.state == "failed"
    assert outcome.answers == ()
    told_meanwhile, told_last = outcome.notices
    assert "keep trying" in told_meanwhile
    assert "ended 6 times" in told_last
    assert "watchdog" in told_last
    assert outcome.seconds > sum(BACKOFFS) + 6 * WATCHDOG_SECONDS * 0.5
    session = session_of(person.group)
    assert container_starts(session) == 1 + len(BACKOFFS)
    assert rows(session.inbound_db, "SELECT tries, status FROM messages_in") == [(5, "failed")]
    wait_until(lambda: not processes(person.group), "nothing is left")
    assert person.ask("hello").answers == ("echo: hello",)
