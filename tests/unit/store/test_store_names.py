"""Names that become units, paths and containers: what the rule lets through, and what it must not."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclawd.errors import InvalidName
from nanoclawd.store.names import (
    GROUP_NAME_RULE,
    SESSION_ID_LENGTH,
    check_group_name,
    is_session_id,
    new_id,
    new_session_id,
)

LETTERS_AND_DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"
RESERVED = ("model", "gateway", "image", "build")


def keeps_the_rule(name: str) -> bool:
    """The rule as the issue writes it, without a regular expression."""
    return (
        1 <= len(name) <= 31
        and all(char in LETTERS_AND_DIGITS + "-" for char in name)
        and name[0] in LETTERS_AND_DIGITS
        and name[-1] in LETTERS_AND_DIGITS
        and name not in RESERVED
    )


def accepted(name: str) -> bool:
    try:
        return check_group_name(name) == name
    except InvalidName:
        return False


@given(st.from_regex(re.compile(r"[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?"), fullmatch=True))
def test_names_of_the_rule_are_accepted(name: str):
    assert accepted(name) == (name not in RESERVED)


@given(st.text(alphabet=st.one_of(st.sampled_from(LETTERS_AND_DIGITS + "-"), st.characters()), max_size=40))
@example("main\n")
@example("\nmain")
@example("main\x00")
@example("-main")
@example("main-")
@example("a" * 31)
@example("a" * 32)
@example("")
@example("Main")
@example("ma\N{LATIN SMALL LETTER DOTLESS I}n")
@example("m\N{COMBINING ACUTE ACCENT}ain")
@example("\N{ARABIC-INDIC DIGIT ONE}")
@example("a/../b")
@example("a@b")
@example("%i")
def test_any_text_is_judged_by_the_rule(name: str):
    assert accepted(name) == keeps_the_rule(name)


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_the_appliances_own_units_are_refused(name: str):
    with pytest.raises(InvalidName, match=re.escape(GROUP_NAME_RULE)):
        check_group_name(name)


@given(st.text(alphabet=st.one_of(st.sampled_from(LETTERS_AND_DIGITS), st.characters()), min_size=10, max_size=14))
@example("abcdefghijkl\n")
@example("abcdefghijk\n")
@example("abcdefghijk\N{ARABIC-INDIC DIGIT ONE}")
def test_session_ids(text: str):
    assert is_session_id(text) == (len(text) == 12 and all(char in LETTERS_AND_DIGITS for char in text))


def test_new_ids_keep_their_form_and_differ():
    ids = {new_session_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_session_id(found) and len(found) == SESSION_ID_LENGTH for found in ids)
    assert re.fullmatch(r"ag-[0-9a-z]{12}", new_id("ag"))
