"""What the daemon finds about people: is there somebody to ask, and was somebody asked?"""

from pathlib import Path

import apsw

from nanoclaw_runner.contract.cards import Option
from nanoclawd.core.health import outside_findings, people_findings
from nanoclawd.doctor.finding import Finding, Severity
from nanoclawd.egress.outside import Note, Outside
from nanoclawd.store import approvals, roles
from nanoclawd.store.approvals import NewApproval
from nanoclawd.store.database import connect

_OPTIONS = (Option("Allow", "allow", "Allowed"), Option("Deny", "deny", "Denied"))


def _ask(connection: apsw.Connection, subject: str) -> str:
    new = NewApproval("sender", subject, "May Bob talk to main?", "…", _OPTIONS, "2099-01-01T00:00:00.000Z")
    return approvals.begin(connection, new)[0].id


def _by_id(found: list[Finding]) -> dict[str, Finding]:
    return {one.id: one for one in found}


def test_nobody_to_ask_and_nobody_asked(tmp_path: Path):
    """Each finding has the command that mends it, and goes when it is mended."""
    connection = connect(tmp_path / "central.db")
    owner = _by_id(people_findings(connection))["owner"]
    assert (owner.severity, owner.fix) == (Severity.WARNING, "ncl roles claim")
    roles.grant(connection, "terminal:ada", "owner")
    assert {one.severity for one in people_findings(connection)} == {Severity.OK}

    first = _ask(connection, "bob")
    one = _by_id(people_findings(connection))["approvals"]
    assert (one.severity, one.fix) == (Severity.WARNING, f"ncl approvals get {first}")
    assert one.detail == "1 waits, and its card has reached nobody yet"
    second = _ask(connection, "eve")
    both = _by_id(people_findings(connection))["approvals"]
    assert (both.detail, both.fix) == ("2 wait, and their cards have reached nobody yet", "ncl approvals")

    for approval_id in (first, second):
        approvals.decide(connection, approval_id, "rejected", "terminal:ada", "deny")
    assert {found.severity for found in people_findings(connection)} == {Severity.OK}
    connection.close()


def test_what_onecli_is_found_to_be():
    """F-107, W-46: why messages are held and what to type, and of each agent that it has nothing yet."""
    assert [one.severity for one in outside_findings(Outside("ready"))] == [Severity.OK]
    (found,) = outside_findings(Outside("away", "OneCLI does not take our API key", "ncl credentials put k"))
    assert (found.severity, found.fix) == (Severity.ERROR, "ncl credentials put k")
    assert found.detail.startswith("OneCLI does not take our API key. Messages to agents that may go out are held")
    (silent,) = outside_findings(Outside("starting", "it is being reached"))
    assert (silent.severity, silent.fix) == (Severity.WARNING, "journalctl -u nanoclaw-gateway -n 50")
    note = Note("main", "it has no secrets there yet", "assign some")
    assert outside_findings(Outside("ready", notes=(note,)))[1:] == [
        Finding("onecli-main", Severity.WARNING, "OneCLI: agent main", "it has no secrets there yet", "assign some")
    ]
