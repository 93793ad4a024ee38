"""What is delivered is fitted to what the channel can, in words where it can't."""

import io

import pytest
from contract import CARD, attachment

from nanoclaw_runner.contract.cards import Card, chosen
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.delivery.fitting import fit
from nanoclawd.sessions.ports import Attachment, Body, Edit, Reaction, ShownCard, Text, Undelivered

PLAIN = Capabilities()
RICH = Capabilities(threads=True, buttons=True, edits=True, reactions=True, max_attachment=2048)
BODIES: tuple[Body, ...] = (
    Text("hello"),
    Text("see", (attachment(),)),
    ShownCard(CARD, "k3f9m2x7q1zp"),
    Edit("p-1", "other words"),
    Reaction("p-1", "\N{THUMBS UP SIGN}"),
)


@pytest.mark.parametrize("body", BODIES)
def test_what_the_channel_can_goes_as_it_is(body: Body):
    assert fit(body, RICH, from_host=False) is body
    assert fit(body, RICH, from_host=True) is body


def test_a_card_without_buttons_is_text_whose_numbers_and_labels_are_answers():
    """W-53: on a channel without buttons an agent's question is asked in words, not swallowed."""
    shown = fit(ShownCard(CARD, "k3f9m2x7q1zp"), PLAIN, from_host=False)
    assert isinstance(shown, Text)
    for part in (CARD.title, CARD.text, "1. Yes", "2. No", "k3f9"):
        assert part in shown.text
    assert "m2x7" not in shown.text
    assert chosen("2", CARD.options) == CARD.options[1]
    assert chosen("yes", CARD.options) == CARD.options[0]


@pytest.mark.parametrize(("fallback", "said"), [("All is well.", "All is well."), ("", "Report\n\nFine so far.")])
def test_a_card_that_asks_nothing_is_its_fallback_where_there_are_none(fallback: str, said: str):
    """F-75: nobody is told to reply with a number."""
    shown = ShownCard(Card("Report", "Fine so far.", (), fallback=fallback), "")
    assert fit(shown, RICH, from_host=False) is shown
    assert fit(shown, PLAIN, from_host=False) == Text(said)


def test_an_agents_edit_or_reaction_that_is_impossible_is_refused_for_good():
    for body in (Edit("p-1", "other words"), Reaction("p-1", "\N{THUMBS UP SIGN}")):
        outcome = fit(body, PLAIN, from_host=False)
        assert isinstance(outcome, Undelivered)
        assert outcome.permanent


def test_the_end_of_the_hosts_card_is_said_anew_where_it_cannot_be_edited():
    assert fit(Edit("p-1", "Allowed by ada."), PLAIN, from_host=True) == Text("Allowed by ada.")


def test_a_file_that_cannot_be_sent_is_told_of():
    small, large = attachment("small.txt"), Attachment("large.iso", 3 * 1024 * 1024, io.BytesIO())
    both = Text("Both of them:", (small, large))
    assert fit(both, RICH, from_host=False) == Text(
        "Both of them:\n\n(The file large.iso was not sent: it has 3.0 MiB, and this channel takes 2 KiB at most.)",
        (small,),
    )
    assert fit(both, PLAIN, from_host=False) == Text(
        "Both of them:\n\n(The file small.txt was not sent: this channel takes no files.)\n"
        "(The file large.iso was not sent: this channel takes no files.)"
    )
    assert fit(Text("", (small,)), PLAIN, from_host=False) == Text(
        "(The file small.txt was not sent: this channel takes no files.)"
    )
