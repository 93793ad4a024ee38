"""Standing against a plain model of it: whatever was granted, revoked, added, denied and deleted before."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from store_memory import fresh

from nanoclawd.errors import AlreadyExists, NotFound, Refused
from nanoclawd.store import agent_groups, members, roles, users

PEOPLE = st.sampled_from([f"telegram:{number}" for number in range(4)])
PLACES = st.integers(0, 2)


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except (AlreadyExists, NotFound, Refused):
        return False
    return True


class People(RuleBasedStateMachine):
    """F-153, W-33: roles are facts about (person, role, place); a place of None is everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = fresh()
        self.groups = [agent_groups.create(self.connection, f"g{number}").id for number in range(3)]
        self.facts: set[tuple[str, str, str | None]] = set()

    def teardown(self) -> None:
        self.connection.close()

    @property
    def owners(self) -> set[str]:
        return {person for person, what, _ in self.facts if what == "owner"}

    @rule(person=PEOPLE, role=st.sampled_from(["owner", "admin"]))
    def grant_everywhere(self, person: str, role: str) -> None:
        new = (person, role, None)
        assert succeeds(lambda: roles.grant(self.connection, person, role)) == (new not in self.facts)
        self.facts = (
            {fact for fact in self.facts if fact[:2] != (person, "denied")} | {new}
            if (new not in self.facts)
            else self.facts
        )

    @rule(person=PEOPLE, place=PLACES)
    def grant_here(self, person: str, place: int) -> None:
        new = (person, "admin", self.groups[place])
        assert succeeds(lambda: roles.grant(self.connection, *new)) == (new not in self.facts)
        if new not in self.facts:
            self.facts = self.facts - {(person, "denied", self.groups[place])} | {new}

    @rule(person=PEOPLE, role=st.sampled_from(["owner", "admin"]))
    def revoke_everywhere(self, person: str, role: str) -> None:
        old = (person, role, None)
        possible = old in self.facts and not (role == "owner" and self.owners == {person})
        assert succeeds(lambda: roles.revoke(self.connection, person, role)) == possible
        if possible:
            self.facts.remove(old)

    @rule(person=PEOPLE, place=PLACES)
    def revoke_here(self, person: str, place: int) -> None:
        old = (person, "admin", self.groups[place])
        assert succeeds(lambda: roles.revoke(self.connection, *old)) == (old in self.facts)
        self.facts.discard(old)

    @rule(person=PEOPLE, place=PLACES)
    def add(self, person: str, place: int) -> None:
        new = (person, "member", self.groups[place])
        assert succeeds(lambda: members.add(self.connection, person, self.groups[place])) == (new not in self.facts)
        if new not in self.facts:
            self.facts = self.facts - {(person, "denied", self.groups[place])} | {new}

    @rule(person=PEOPLE, place=PLACES)
    def remove(self, person: str, place: int) -> None:
        old = (person, "member", self.groups[place])
        assert succeeds(lambda: members.remove(self.connection, person, self.groups[place])) == (old in self.facts)
        self.facts.discard(old)

    @rule(person=PEOPLE, place=PLACES)
    def deny(self, person: str, place: int) -> None:
        members.deny(self.connection, person, self.groups[place])
        self.facts.add((person, "denied", self.groups[place]))

    @rule(person=PEOPLE)
    def undeny(self, person: str) -> None:
        old = {fact for fact in self.facts if fact[:2] == (person, "denied")}
        assert members.undeny(self.connection, person) == len(old)
        self.facts -= old

    @rule(person=PEOPLE)
    def delete(self, person: str) -> None:
        if succeeds(lambda: users.delete(self.connection, person)):
            self.facts = {fact for fact in self.facts if fact[0] != person}
        else:
            # Never written, or the last owner.
            assert self.owners == {person} or not any(fact[0] == person for fact in self.facts)

    @invariant()
    def standing_is_what_the_facts_say(self) -> None:
        for person in (f"telegram:{number}" for number in range(4)):
            known = roles.standing(self.connection, person)
            everywhere = {what for who, what, where in self.facts if who == person and where is None}
            assert known.may_administer(None) == bool(everywhere)
            for place in self.groups:
                here = {what for who, what, where in self.facts if who == person and where == place}
                assert known.may_administer(place) == bool(everywhere or "admin" in here)
                assert known.may_access(place) == bool(everywhere or here & {"admin", "member"})
                assert (place in known.denied_in) == ("denied" in here)

    @invariant()
    def approvers_are_those_who_may(self) -> None:
        for place in (None, *self.groups):
            asked = roles.approvers(self.connection, place)
            assert len(asked) == len(set(asked))
            everybody = (f"telegram:{number}" for number in range(4))
            assert set(asked) == {
                one for one in everybody if roles.standing(self.connection, one).may_administer(place)
            }
        assert roles.has_owner(self.connection) == bool(self.owners)


TestPeople = People.TestCase
TestPeople.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
