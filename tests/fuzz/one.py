"""Fuzzes one target with atheris, guided by coverage: ``python3 -m fuzz.one TARGET libFuzzer's arguments``."""

import logging
import sys

import atheris

with atheris.instrument_imports(include=["nanoclawd", "nanoclaw_runner"]):
    from fuzz.targets import TARGETS


def main() -> None:
    # What the code under test says of its input would fill the terminal.
    logging.disable(logging.CRITICAL)
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]
    atheris.Setup([f"fuzz {name}", *arguments], target)
    atheris.Fuzz()


main()
