"""What an agent says finds its way: over the loopback channel, by names, with the question's thread."""

import json

from eventually import wait_until
from nanoclaw_runner.contract.agent_config import from_json, to_json
from nanoclawd.paths import StatePaths
from system.appliance import call, rows, session_of
from system.town import Town


def addressed(town: Town) -> None:
    """Have the group's next container name the places that it answers to; scripts mostly are given bare words."""
    path = StatePaths.resolve().agent_json(town.group)
    configured = json.loads(path.read_text()) | {"prompt": "addressed"}
    path.write_text(to_json(from_json(json.dumps(configured))))


def test_blocks_reach_their_places_and_bare_words_the_asker(town: Town) -> None:
    """F-128, F-129: each to its place, back in the thread; what names nobody is asked about, then told to who asked."""
    chat, other = (town.chat(town.loop, policy="public") for _ in range(2))
    book = call("Destinations.List", group=town.group)["destinations"]
    name = next(one["name"] for one in book if one["chat"] == other)
    addressed(town)
    town.say(town.loop, chat, f'!raw <message to="{name.upper()}">1</message> <internal>2</internal>', by="ann")
    assert town.loop.hears(other, "1").text == "1"
    town.say(town.loop, chat, "!raw bare words", by="ann")
    assert town.loop.hears(chat, "bare words").text == "bare words"
    session = session_of(town.group)
    wait_until(
        lambda: rows(session.inbound_db, "SELECT count(*) FROM messages_in WHERE status <> 'completed'") == [(0,)],
        "everything is answered",
    )
    texts = rows(session.outbound_db, "SELECT json_extract(content, '$.text') FROM messages_out ORDER BY seq")
    assert texts == [("1",), ("bare words",)]
