"""Checks a channel's options against a struct, and names the one that is wrong."""

import re
from collections.abc import Mapping

import msgspec

from nanoclawd.channels.adapter import InvalidOption

_PLACE = re.compile(r"(?P<problem>.*?)(?: - at `(?:key in )?\$\.?(?P<place>[^`]*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (?:contains unknown|missing required) field `(?P<field>[^`]*)`")
_SHOWN_CHARACTERS = 60


def read_options[Options: msgspec.Struct](kind: type[Options], options: Mapping[str, object]) -> Options:
    """Return a channel's options as their struct, which says types, bounds and defaults.

    A number or a switch may come as a text, as a command line has it.

    Raises:
        InvalidOption: one is missing, unknown (where the struct forbids those) or wrong.
    """
    try:
        return msgspec.convert(dict(options), kind, strict=False)
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        problem, place = (found["problem"], found["place"] or "") if found else (str(error), "")
        field = _FIELD.fullmatch(problem)
        if field is None:
            raise InvalidOption(place, problem[:1].lower() + problem[1:]) from None
        key = f"{place}.{field['field']}" if place else field["field"]
        if "missing" in problem:
            raise InvalidOption(key, "is missing") from None
        known = ", ".join(one.encode_name for one in msgspec.structs.fields(kind)) if not place else ""
        shown = key[:_SHOWN_CHARACTERS].encode("unicode_escape").decode("ascii")
        raise InvalidOption(shown, f"unknown key; known here: {known}" if known else "unknown key") from None
