"""Who gets which part of an answer, and what the places are called."""

from hypothesis import given
from hypothesis import strategies as st
from place_stage import ADA, HELPER, TEAM, destinations, own_chat
from runner_stage import Host

from nanoclaw_runner.addressing import MAX_MESSAGES, Sorted, correction, listed, misdirected, shown, sort_out
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.destinations import Book, Destination, find, place_of
from nanoclaw_runner.output import parse
from nanoclaw_runner.store.inbox import Inbox


def sent(text: str, *places: Destination, asked: Destination | None = ADA) -> Sorted:
    return sort_out(parse(text), places, asked, named=len(places) > 1)


def test_with_one_place_everything_goes_there():
    """Plain words, words around blocks, blocks that name nobody, and a tag that was never ended."""
    assert sent("Hello <internal>hm</internal>there", ADA).sent == ((ADA, "Hello there"),)
    assert sent('Sure. <message to="Ada">Hi', ADA).sent == ((ADA, "Sure."), (ADA, "Hi"))
    assert sent("<message>Hi</message>", ADA).sent == ((ADA, "Hi"),)
    assert sent("", ADA) == sent("<internal>hm</internal>", ADA) == Sorted()


def test_with_several_places_only_named_blocks_go_anywhere():
    found = sent('Let me see. <message to="team">1</message> hm <message to="ada">2</message>', ADA, TEAM)
    assert found == Sorted(((TEAM, "1"), (ADA, "2")))
    assert sent("Just words.", ADA, TEAM) == Sorted(loose="Just words.")
    assert sent("<message>Hi</message>", ADA, TEAM) == Sorted(loose="Hi")
    assert sent('<message to="team">1</message><message>2</message>', ADA, TEAM) == Sorted(((TEAM, "1"),), loose="2")


def test_a_name_that_nobody_has_is_known_as_such():
    assert sent('<message to="bob">1</message>', ADA).unknown == (("bob", "1"),)
    found = sent('<message to="bob">1</message><message to="ada">2</message>', ADA, TEAM)
    assert found == Sorted(((ADA, "2"),), (("bob", "1"),))
    lenient = sort_out(parse('<message to="user">1</message>'), (ADA,), ADA, named=False, strict=False)
    assert lenient.sent == ((ADA, "1"),)


def test_a_place_is_found_by_its_name_or_what_people_call_it():
    places = (ADA, TEAM, HELPER, Destination("team-2", "The team", Address("loop", "3")))
    for name in ("ada", " Ada ", "@ADA", "Ada  Lovelace"):
        assert find(places, name) == ADA
    assert find(places, "The team") is None
    assert find(places, "loop:1") is None


def test_of_very_many_messages_the_rest_is_left_out_with_a_word():
    found = sent('<message to="team">x</message>' * 1000, ADA, TEAM)
    assert len(found.sent) == MAX_MESSAGES + 1
    assert found.sent[-1] == (ADA, "[968 more messages were left out: an answer has at most 32]")


def test_only_what_goes_where_it_was_asked_is_shown_early():
    text = 'hm <message to="team">secret</message><message to="ada">Hel'
    assert shown(parse(text), (ADA, TEAM), ADA, named=True) == "Hel"
    assert shown(parse("Hel <internal>secret"), (ADA,), ADA, named=False) == "Hel"


@given(st.text(), st.text(), st.text())
def test_the_agent_is_told_what_was_wrong_with_the_list(name: str, text: str, loose: str):
    words = correction(Sorted((), ((name, text),), loose), (ADA, HELPER))
    assert "- ada (Ada Lovelace)\n- helper, an agent\n" in words
    assert text in misdirected(name, text)
    assert listed(()) == "- none"


def test_the_book_follows_the_database(host: Host):
    """W-65: a destination of this moment is there at the next look, and so is its end."""
    book = Book(Inbox(host.places.inbound_db))
    assert book.destinations() == ()
    own_chat(host, "1")
    chat = Destination("chat", "the chat of this conversation", Address("loop", "1"))
    assert book.destinations() == (chat,)
    destinations(host, HELPER, TEAM)
    assert book.destinations() == (chat, HELPER, TEAM)
    destinations(host, ADA)
    assert book.destinations() == (ADA, HELPER, TEAM)
    assert book.find("Ada Lovelace") == ADA
    host.inbound.execute("DELETE FROM destinations")
    assert book.destinations() == (chat,)
    host.inbound.execute("BEGIN EXCLUSIVE")
    assert book.destinations() == (chat,)
    host.inbound.execute("COMMIT")


def test_a_place_without_a_name_is_here(host: Host):
    """F-78: no identifier of a platform is ever a name."""
    own_chat(host, "1")
    destinations(host, TEAM, Destination("here", "A chat", Address("loop", "7")))
    book = Book(Inbox(host.places.inbound_db))
    stranger = Address("loop", "123456789012345678", "thread")
    assert place_of(book.destinations(), stranger) == Destination(
        "here-2", "here", Address("loop", "123456789012345678")
    )
    assert place_of(book.destinations(), Address("agent", "other")).name == "other"
    assert place_of(book.destinations(), Address("loop", "2", "t-7")) == TEAM
    assert [one.name for one in book.around(stranger)] == ["chat", "here", "team", "here-2"]
    assert [one.name for one in book.around(Address("loop", "1", "t"))] == ["chat", "here", "team"]


def test_what_was_written_last_in_a_chat_is_gone_on_with(host: Host):
    """F-128: nothing was: a new conversation begins there."""
    book = Book(Inbox(host.places.inbound_db))
    host.insert("a", thread="t-1")
    host.insert("b", thread="t-2")
    host.insert("c", platform="elsewhere", thread="t-3")
    assert book.newest(Address("cli", "terminal")) == ("t-2", "in-4")
    assert book.newest(Address("cli", "nowhere")) == (None, None)
