"""What people are told of a container that ended."""

from nanoclawd.sessions.ending import given_up
from nanoclawd.supervision.user_manager import UnitState


def test_who_gives_up_says_why_and_what_helps():
    """Without an image no log says anything: the command that builds it does."""
    unit = UnitState("failed", "failed", "exit-code", exit_status=125)
    without = given_up(6, unit, "aaaabbbbcccc", missing_image="ncl images build agent-claude")
    assert without == (
        "I could not answer this: after 6 tries the agent's container image is still missing."
        " The operator can run: ncl images build agent-claude"
    )
    assert "exit status 125. The operator can run: ncl sessions logs aaaabbbbcccc" in given_up(
        6, unit, "aaaabbbbcccc", missing_image=""
    )
