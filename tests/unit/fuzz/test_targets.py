"""The targets of ``make fuzz``, for a moment and always the same inputs: their seeds, and what is next to them."""

import random

import pytest

from fuzz.targets import TARGETS, WORDS, seeds

INPUTS = {"event": 1000, "pattern": 200, "shown": 1500}
_OTHERS = 3000


def _words() -> list[bytes]:
    """Return the dictionary's words, which are spelled as in C."""
    lines = WORDS.read_text().splitlines()
    return [line[1:-1].encode().decode("unicode_escape").encode("latin-1") for line in lines if line]


def _changed(data: bytes, others: list[bytes], words: list[bytes], chance: random.Random) -> bytes:
    """Return an input a few steps away, as a fuzzer makes them."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(made))
        match chance.randrange(6):
            case 0:
                made[at : at + 1] = chance.randbytes(1)
            case 1:
                made[at:at] = chance.randbytes(chance.randint(1, 24))
            case 2:
                del made[at : at + chance.randint(1, 16)]
            case 3:
                made[at:at] = chance.choice(words)
            case 4:
                other = chance.choice(others)
                made[at:] = other[chance.randint(0, len(other)) :]
            case _:
                made[at:at] = made[at : at + chance.randint(1, 16)] * chance.randint(1, 40)
    return bytes(made[:4096])


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_anything(name: str):
    chance = random.Random(name)
    known, words = seeds(name), _words()
    for seed in (b"", *known):
        TARGETS[name](seed)
    for _ in range(INPUTS.get(name, _OTHERS)):
        data = _changed(chance.choice(known), known, words, chance)
        try:
            TARGETS[name](data)
        except Exception as error:
            error.add_note(f"{name}: {data!r}")
            raise
    for _ in range(INPUTS.get(name, _OTHERS)):
        TARGETS[name](chance.randbytes(chance.choice((3, 30, 100, 300))))
