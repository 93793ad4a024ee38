"""What a new version of something rebuilds."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def stages() -> dict[str, list[str]]:
    """Return each stage's instructions, continued lines joined."""
    text = (ROOT / "Containerfile").read_text()
    text = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["FROM"]:
            found[words[-1]] = current = [line]
        elif found and words[:1] and words[0] in {"RUN", "COPY", "ARG", "ENV", "CMD", "WORKDIR"}:
            current.append(line)
    return found


def test_another_version_of_the_client_changes_the_last_layer_only():
    """F-202."""
    found = stages()
    fetched = found["claude-packages"]
    position = next(number for number, line in enumerate(fetched) if line.startswith("ARG CLAUDE_AGENT_SDK_VERSION="))
    assert position == len(fetched) - 2, "nothing but the SDK is fetched after its version was said"
    assert "/opt/claude-sdk" in fetched[-1]
    assert not any("claude-agent-sdk" in line for line in fetched[:-1])
    layers = [line for line in found["agent-claude"] if line.startswith(("RUN", "COPY"))]
    assert layers[-1] == "COPY --from=claude-packages /opt/claude-sdk /opt/claude-sdk"
    assert not any("claude-sdk" in line for line in layers[:-1])


def test_the_common_agent_image_has_nothing_of_it():
    assert not any("claude" in line for line in stages()["agent"][1:])
