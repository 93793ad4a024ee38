"""What ``ncl status`` says of an agent's troubles: what is wrong, how often, and what to type."""

import pytest

from nanoclawd.config import Config
from nanoclawd.config.model import Endpoint
from nanoclawd.core.health import trouble_finding
from nanoclawd.doctor.finding import Severity
from nanoclawd.store.troubles import Trouble

CONFIG = Config(endpoints={"openai": Endpoint(url="https://api.example.org/v1", credential="openai-api-key")})


def trouble(kind: str, subject: str = "", count: int = 1, message: str = "it said 401") -> Trouble:
    return Trouble("main", kind, subject, message, count, "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z")


def test_a_refused_credential_comes_with_the_command_that_stores_another():
    found = trouble_finding(trouble("credentials", "openai", 3), CONFIG)
    assert found.severity is Severity.ERROR
    assert found.detail == "it said 401; 3 times since 2026-01-01T00:00:00.000Z"
    assert found.fix is not None
    assert found.fix == "ncl credentials put nanoclaw-gateway.openai-api-key"


@pytest.mark.parametrize(
    "message",
    [
        'the API key "k" is not stored; run: ncl credentials put x. The operator can run: ncl status',
        'the API key "k" is not stored. The operator can run: ncl status',
        'the API key "k" is not stored',
    ],
)
def test_what_to_type_is_said_once(message: str):
    found = trouble_finding(trouble("credentials", "openai", message=message), CONFIG)
    assert found.detail == 'the API key "k" is not stored'


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("mcp", "ncl mcp list --group main"),
        ("configuration", "ncl groups get main"),
        ("image", "ncl groups restart main --rebuild"),
        ("network", "journalctl -u nanoclaw-gateway -n 50"),
        ("credentials", "journalctl -u nanoclaw-gateway -n 50"),
    ],
)
def test_other_troubles_say_where_to_look(kind: str, fix: str):
    found = trouble_finding(trouble(kind, "thing"), CONFIG)
    assert (found.title, found.fix) == (f"Agent main: {kind} (thing)", fix)
