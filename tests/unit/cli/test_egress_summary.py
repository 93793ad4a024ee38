"""The sums of a day: of the gateway's records alone, whatever stands in the journal."""

import json

import pytest

from nanoclawd.cli.__main__ import main
from nanoclawd.cli.egress_summary import Sum, sums


def record(host: str, outcome: str = "answered", **more: str) -> bytes:
    fields = {"OUTCOME": outcome, "HOST": host, "COUNT": "1", "SENT": "10", "RECEIVED": "20", **more}
    return json.dumps(
        {"NANOCLAW_GROUP": "main", **{f"NANOCLAW_EGRESS_{name}": text for name, text in fields.items()}}
    ).encode()


def test_records_are_added_up_by_host():
    found = sums(
        [
            record("b.example"),
            record("a.example", COUNT="7"),
            record("a.example", "refused"),
            record("a.example", "closed", APPROVAL="card-1"),
            record("…", "others", COUNT="2"),
        ]
    )
    assert found == [
        Sum("main", "a.example", 9, 1, 1, 30, 60),
        Sum("main", "…", 2, 2, 0, 10, 20),
        Sum("main", "b.example", 1, 0, 0, 10, 20),
    ]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b"1", record("a", COUNT="x"), b'{"NANOCLAW_GROUP": 1}'])
def test_what_is_no_record_is_left_out(line: bytes):
    assert sums([line, record("a.example")]) == [Sum("main", "a.example", 1, 0, 0, 10, 20)]


@pytest.mark.parametrize("day", ["2026-02-30", "today", "26-01-01", "2026-01-01; x", ""])
def test_what_is_no_day(day: str, capsys: pytest.CaptureFixture[str]):
    assert main(["egress", "summary", "--day", day]) == 2
    assert "is no day" in capsys.readouterr().err
