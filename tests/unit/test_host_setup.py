"""Choosing subordinate ids: free, whole, and inside what this machine has (F-205, install)."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Path(__file__).parents[2] / "packaging" / "host_setup.py"


def load():
    spec = importlib.util.spec_from_file_location("host_setup", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["host_setup"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


setup = load()
WHOLE = setup.Range(0, 2**32 - 1)
ranges = st.builds(setup.Range, st.integers(0, 700_000_000), st.integers(1, 300_000))


@given(st.lists(ranges, max_size=30), st.lists(ranges, min_size=1, max_size=5))
def test_a_chosen_range_overlaps_nothing_and_exists(taken: list[Any], exists: list[Any]):
    chosen = setup.choose(taken, exists)
    if chosen is not None:
        assert chosen.length == 65536
        assert not any(chosen.overlaps(used) for used in taken)
        assert any(piece.start <= chosen.start and chosen.end <= piece.end for piece in exists)


@given(st.lists(ranges, max_size=30))
def test_a_machine_with_all_ids_always_has_room(taken: list[Any]):
    assert setup.choose(taken, [WHOLE]) is not None


def test_the_first_is_where_useradd_begins():
    assert setup.choose([], [WHOLE]) == setup.Range(100000, 65536)


def test_it_goes_behind_what_others_have():
    taken = [setup.Range(100000, 65536), setup.Range(165536, 65536)]
    assert setup.choose(taken, [WHOLE]) == setup.Range(231072, 65536)


def test_it_fits_into_a_gap():
    taken = [setup.Range(100000, 10), setup.Range(100010 + 65536, 10)]
    assert setup.choose(taken, [WHOLE]) == setup.Range(100010, 65536)


@pytest.mark.parametrize("id_map", ["0 100000 65536\n", "0 0 100000\n", "0 0 165535\n", ""])
def test_a_container_with_few_ids_has_no_room(id_map: str):
    assert setup.choose([], setup.read_id_map(id_map)) is None


def test_an_id_map_with_just_enough():
    assert setup.choose([], setup.read_id_map("         0          0     165536\n")) == setup.Range(100000, 65536)


def test_what_is_no_delegation_is_passed_over():
    text = "alice:100000:65536\n# a comment\n\nbob:x:1\nnanoclaw:1\n1000:165536:65536\n"
    assert setup.read_delegations(text) == [
        ("alice", setup.Range(100000, 65536)),
        ("1000", setup.Range(165536, 65536)),
    ]


def test_a_range_may_be_given_by_uid_and_must_be_long_enough():
    delegations = [("nanoclaw", setup.Range(1, 1000)), ("995", setup.Range(200000, 65536))]
    assert setup.owned(delegations, "nanoclaw", 995) == setup.Range(200000, 65536)
    assert setup.owned(delegations, "nanoclaw", 994) is None
