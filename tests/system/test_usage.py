"""What agents take is seen by ncl and ends at a limit: whoever writes is told so at once, and no container is asked."""

import json

from eventually import wait_until
from system.appliance import call, run
from system.town import Town


def report(**numbers: object) -> str:
    """Return a line by which a script reports what its turn took."""
    said = {"action": "usage", "turn": "t", "model": "test-model", "toolCalls": 1, "seconds": 2.5, **numbers}
    return f"!system {json.dumps(said)}"


def test_usage_is_added_up_and_limits_hold(town: Town) -> None:
    """A limit warns its administrator at a share, and ends in a sentence that says what can be done."""
    town.grant("boss")
    chat = town.chat(town.loop, policy="public")
    call("Groups.Update", name=town.group, daily_tokens="1000", daily_cost="5")
    town.say(town.loop, chat, report(inputTokens=800, outputTokens=50, costMicros=1_250_000), by="ann")
    town.loop.hears(town.handle("boss"), "has used 85 % of its daily limit: 850 of 1,000 tokens")
    (found,) = call("Usage.List", group=town.group, by="model")["usage"]
    assert (found["key"], found["input_tokens"], found["output_tokens"], found["cost"]) == ("test-model", 800, 50, 1.25)
    assert "test-model" in run("ncl", "usage", "--group", town.group, "--by", "model")
    town.say(town.loop, chat, report(inputTokens=200), by="ann")
    town.loop.hears(town.handle("boss"), "answers nobody until 00:00")
    before = len(town.loop.deliveries)
    town.say(town.loop, chat, "are you there?", by="ann")
    refused = town.loop.hears(chat, "has used up what it may use in a day: 1,050 of 1,000 tokens", after=before)
    assert f"ncl groups update {town.group} --daily-tokens" in refused.text
    assert not [one for one in town.loop.deliveries[before:] if "echo: are you there?" in one.text]
    call("Groups.Update", name=town.group, daily_tokens="none")
    town.say(town.loop, chat, "and now?", by="ann")
    town.loop.hears(chat, "echo: and now?", after=before)


def test_troubles_are_in_the_status_and_the_owner_is_told_once(town: Town) -> None:
    """Expired credentials say so once to the owner and in ncl status, until a turn was answered."""
    town.grant("boss")
    chat = town.chat(town.loop, policy="public")
    # Whatever another test has left of the endpoint is over once a turn was answered.
    town.say(town.loop, chat, report(inputTokens=1), by="ann")
    wait_until(lambda: call("Usage.List", group=town.group)["usage"], "a turn was answered")
    trouble = "!system " + json.dumps(
        {"action": "trouble", "kind": "credentials", "message": "401 from the model", "subject": ""}
    )
    for number in range(3):
        town.say(town.loop, chat, f"{trouble}\n{number}", by="ann")
        town.loop.hears(chat, f"echo: {number}")
    town.loop.hears(town.handle("boss"), "refuses its credential")
    assert len([text for text in town.loop.texts(town.handle("boss")) if "refuses its credential" in text]) == 1
    assert "401 from the model" in run("ncl", "status", check=False)
    town.say(town.loop, chat, report(inputTokens=1), by="ann")
    wait_until(
        lambda: not [one for one in call("Appliance.Status")["problems"] if town.group in one["title"]],
        "it is over",
    )
