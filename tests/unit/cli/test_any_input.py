"""Any command line ends with usage or a command; any record is printed, and nothing of it acts on a terminal."""

import contextlib
import io
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from nanoclawd.cli import arguments, forms
from nanoclawd.cli.catalogue import RESOURCES, commands

KNOWN = sorted({word for command in commands() for word in command.words.split()})
OPTIONS = sorted({one.option for command in commands() for one in command.verb.parameters if one.option})
WORDS = st.lists(st.sampled_from(KNOWN) | st.sampled_from(OPTIONS) | st.text(max_size=20), max_size=8)
OPTION = st.fixed_dictionaries({"label": st.text(), "value": st.text()})
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3) | st.lists(OPTION)
FIELDS = {column.field for resource in RESOURCES.values() for column in resource.columns} | {"channel", "reason"}
RECORDS = st.fixed_dictionaries(
    {}, optional={name: st.integers() if name == "size" else VALUES for name in sorted(FIELDS)}
)
MARKS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def _is_clean(text: str) -> bool:
    controls = {char for char in text if unicodedata.category(char) in {"Cc", "Cs"}} - {"\n", "\t"}
    return not controls and not set(text) & MARKS


@given(WORDS)
def test_any_command_line_is_understood_or_answered(words: list[str]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code: object = None
        try:
            parsed = arguments.parse(arguments.parser(), words)
        except SystemExit as end:
            code = end.code
    assert code in {None, 0, 2}
    assert code is not None or parsed.command.verb.methods
    assert ("Try: ncl" in said.getvalue()) is (code == 2)
    assert _is_clean(said.getvalue())


@given(st.sampled_from(sorted(RESOURCES)), st.lists(RECORDS, max_size=2))
@example("egress", [{"max_body": []}])
@example("egress", [{"max_body": "much"}])
def test_any_record_is_printed_clean(name: str, records: list[dict[str, object]]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        forms.table(RESOURCES[name], records)
        for record in records:
            forms.details(record)
    assert _is_clean(said.getvalue())
