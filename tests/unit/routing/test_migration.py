"""What older wirings said, in today's words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.routing.migration import EngageRules, from_trigger_rules


@pytest.mark.parametrize(
    ("trigger_rules", "response_scope", "expected"),
    [
        ('{"pattern": "x"}', None, EngageRules("pattern", "x", "all")),
        ('{"pattern": "x", "requiresTrigger": false}', "all", EngageRules("pattern", "x", "all")),
        ('{"pattern": "^@Andy\\\\b"}', "allowlisted", EngageRules("pattern", r"^@Andy\b", "known")),
        ('{"pattern": "("}', None, EngageRules("pattern", "(", "all")),
    ],
)
def test_a_pattern_stays(trigger_rules: str, response_scope: str | None, expected: EngageRules):
    """F-169: whatever else is said."""
    assert from_trigger_rules(trigger_rules, response_scope) == expected


@pytest.mark.parametrize(
    ("trigger_rules", "response_scope"),
    [
        ('{"requiresTrigger": false}', None),
        ('{"requiresTrigger": false}', "triggered"),
        ('{"pattern": "", "requiresTrigger": false}', None),
        ("{}", "all"),
        (None, "all"),
        ("no json", "all"),
        ('{"requiresTrigger": true}', "all"),
    ],
)
def test_always(trigger_rules: str | None, response_scope: str | None):
    """F-170: no trigger required, or answered by scope."""
    assert from_trigger_rules(trigger_rules, response_scope) == EngageRules("pattern", ".", "all")


@pytest.mark.parametrize(
    "trigger_rules",
    [
        None,
        "",
        "{}",
        "[]",
        "1",
        '"x"',
        "{",
        '{"requiresTrigger": true}',
        '{"requiresTrigger": 0}',
        '{"pattern": 7}',
        '{"requiresTrigger": null}',
        "[" * 5000,
    ],
)
def test_otherwise_by_mention(trigger_rules: str | None):
    """F-171: also where nothing can be read; 'false' is false and nothing else."""
    assert from_trigger_rules(trigger_rules, None) == EngageRules("mention", None, "all")
    assert from_trigger_rules(trigger_rules, "triggered") == EngageRules("mention", None, "all")


@pytest.mark.parametrize("trigger_rules", [None, '{"pattern": "x"}', '{"requiresTrigger": false}'])
def test_scope_and_policy(trigger_rules: str | None):
    """F-172: allowlisted becomes known, all else all; what is not heard is dropped."""
    for response_scope, scope in (("allowlisted", "known"), ("all", "all"), ("triggered", "all"), (None, "all")):
        rules = from_trigger_rules(trigger_rules, response_scope)
        assert (rules.sender_scope, rules.ignored_message_policy) == (scope, "drop")


@given(st.none() | st.text(max_size=200), st.none() | st.text(max_size=20))
def test_anything_becomes_a_rule(trigger_rules: str | None, response_scope: str | None):
    rules = from_trigger_rules(trigger_rules, response_scope)
    assert (rules.engage_mode == "pattern") == (rules.engage_pattern is not None)
