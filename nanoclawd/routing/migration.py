"""What older wirings said, in today's words (F-169…172). Pure: an importer reads and writes the rows."""

import json
from dataclasses import dataclass

from nanoclawd.routing.engage import ALWAYS


@dataclass(frozen=True, slots=True)
class EngageRules:
    """When a wiring hears a message, and whom."""

    engage_mode: str
    engage_pattern: str | None
    sender_scope: str
    ignored_message_policy: str = "drop"


def from_trigger_rules(trigger_rules: str | None, response_scope: str | None) -> EngageRules:
    """Translate a wiring's ``trigger_rules`` (JSON) and ``response_scope``; what can't be read counts as not there.

    A pattern stays the pattern; "no trigger required" and the scope ``all`` mean always; everything else is by mention.
    An old pattern that is no regular expression is kept as it is: it engages on everything, as it always did.
    """
    rules = _object(trigger_rules)
    scope = "known" if response_scope == "allowlisted" else "all"
    pattern = rules.get("pattern")
    if isinstance(pattern, str) and pattern:
        return EngageRules("pattern", pattern, scope)
    if rules.get("requiresTrigger") is False or response_scope == "all":
        return EngageRules("pattern", ALWAYS, scope)
    return EngageRules("mention", None, scope)


def _object(text: str | None) -> dict[str, object]:
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
