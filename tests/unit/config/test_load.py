"""The configuration file: defaults, spellings, and what every fault is told with."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.config import Access, Config, Endpoint, Gateway, ModelChoice, OneCli, load
from nanoclawd.config.load import MAX_FILE_BYTES
from nanoclawd.config.model import EMBEDDED
from nanoclawd.config.values import default_awake, half_of_memory, parse_size
from nanoclawd.errors import ConfigError, InvalidName, NotFound

SHIPPED = Path(__file__).parents[3] / "config" / "config.yaml"


def read(tmp_path: Path, text: str | bytes) -> Config:
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path)


def faults(tmp_path: Path, text: str | bytes) -> list[str]:
    """Each fault without the file's name: ``LINE: KEY: what is wrong``."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    prefix = f"{tmp_path}/config.yaml:"
    assert all(problem.startswith(prefix) for problem in caught.value.problems)
    return [problem.removeprefix(prefix) for problem in caught.value.problems]


def test_a_missing_file_says_the_defaults(tmp_path: Path):
    config = load(tmp_path / "none.yaml")
    assert config == Config()
    assert config.resolve_model() == ModelChoice("embedded", "smollm2")
    assert config.allow_scripted is False


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n", "limits:\nendpoints:\ntimeouts: ~\n"])
def test_an_empty_file_or_section_says_the_defaults(tmp_path: Path, text: str):
    assert read(tmp_path, text) == Config()


def test_the_shipped_file_says_the_defaults():
    assert load(SHIPPED) == Config()


def test_the_shipped_files_commented_lines_are_true(tmp_path: Path):
    """With the comment signs taken away, the file is valid, and all but its examples are the defaults."""
    head, _, body = SHIPPED.read_text().partition("\n# endpoints:\n")
    text = re.sub(r"(?m)^# ( +[a-z_]+: |[a-z_]+:)", r"\1", "\n# endpoints:\n" + body)
    examples_gone = "\n".join(line for line in text.splitlines() if "# example" not in line)
    assert read(tmp_path, examples_gone) == Config()
    with_examples = read(tmp_path, text)
    assert set(with_examples.endpoints) == {
        *("embedded", "ollama", "vllm", "openai", "anthropic", "subscription", "tickets"),
    }
    assert (with_examples.images.wheels, with_examples.images.build_network) == ("/srv/wheels", "host")
    # The two-line examples of the head.
    for model in ("ollama/llama3.2", "openai/gpt-4o-mini"):
        lines = re.search(rf"(?m)^#   (model: {model})\n#   (endpoints: .*)$", head)
        assert lines
        assert read(tmp_path, "\n".join(lines.groups())).resolve_model() == ModelChoice(*model.split("/"))


def test_onecli_is_one_word_or_a_section(tmp_path: Path):
    assert read(tmp_path, "gateway: onecli").gateway == Gateway(onecli=OneCli())
    text = (
        "gateway: {max_egress: 9, onecli: {url: 'https://api.onecli.sh/', credential: ~, project: p-1, secrets: all}}"
    )
    wanted = OneCli(url="https://api.onecli.sh", credential=None, project="p-1", secrets="all")
    assert read(tmp_path, text).gateway == Gateway(max_egress=9, onecli=wanted)
    assert read(tmp_path, "gateway: {onecli: ~}").gateway.onecli is None
    assert read(tmp_path, "gateway: {onecli: {}}").gateway.onecli == OneCli()
    assert faults(tmp_path, "gateway:\n  onecli:\n    url: box\n    secrets: some\n    key: oc_1") == [
        '3: gateway.onecli.url: expected an http:// or https:// address, found "box"',
        '4: gateway.onecli.secrets: expected selective or all, found "some"',
        "5: gateway.onecli.key: unknown key; known here: url, credential, proxy, project, secrets",
    ]
    assert faults(tmp_path, "gateway: twocli") == ['1: gateway: expected a mapping (key: value), found "twocli"']


def test_every_fault_is_told_with_its_line_and_key(tmp_path: Path):
    text = """\
model: smollm2
endpoints:
  one: {url: "ftp://example.org"}
  Two: {url: "http://example.org"}
  three: {url: "http://example.org", socket: /run/x.sock}
  four: {}
  five: {url: "http://example.org", base: /v1}
  six: {url: "http://example.org", paths: [../files, chat/completions]}
  seven: "http://example.org"
limits:
  max_awake: many
  session_memory: 1G
  session_memory: 2G
  color: red
timeouts: {idle: .nan, turn: true, ready: 0}
allow_scripted: maybe
log_level: [debug]
"""
    assert faults(tmp_path, text) == [
        '1: model: expected ENDPOINT/MODEL like embedded/smollm2, found "smollm2"',
        '3: endpoints.one.url: expected an http:// or https:// address, found "ftp://example.org"',
        '4: endpoints.Two: expected a name of a-z, 0-9 and -, at most 31 characters, found "Two"',
        "5: endpoints.three: exactly one of socket and url is needed",
        "6: endpoints.four: exactly one of socket and url is needed",
        "7: endpoints.five: base belongs to socket; with url it is a part of the address",
        '8: endpoints.six.paths[0]: expected a path like chat/completions, found "../files"',
        '9: endpoints.seven: expected a mapping (key: value), found "http://example.org"',
        '11: limits.max_awake: expected an integer ≥ 1 or auto, found "many"',
        "13: limits.session_memory: stands here twice",
        (
            "14: limits.color: unknown key; known here: max_awake, memory_budget, session_memory, session_tasks,"
            " min_free_disk, tool_calls, peer_hops, peer_rate, daily_tokens, daily_cost, task_scripts"
        ),
        "15: timeouts.idle: expected seconds, from 1 to 86400, found .nan",
        "15: timeouts.turn: expected seconds, from 1 to 86400, found true",
        "15: timeouts.ready: expected seconds, from 1 to 86400, found 0",
        '16: allow_scripted: expected true or false, found "maybe"',
        "17: log_level: expected debug, info, warning or error, found a list",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("model: ollama/llama3\n", "1: model: no model endpoint 'ollama' in the configuration; there are: embedded"),
        ("\nprovider: scripted\n", "2: provider: scripted needs allow_scripted: true"),
        ("limits:\n  memory_budget: 100M\n", "2: limits.memory_budget: smaller than limits.session_memory"),
        ("limits:\n  session_memory: 900T\n", "1: limits.memory_budget: smaller than limits.session_memory"),
        ("timeouts: {turn: 10}\n", "1: timeouts.turn: shorter than timeouts.silence"),
        ("- a\n- b\n", "1: expected a mapping (key: value), found a list"),
        ("words\n", '1: expected a mapping (key: value), found "words"'),
        ("? [a]\n: b\n", "1: a key must be a word"),
        ("limits: &x {}\ntimeouts: *x\n", "2: an alias (*name) cannot be used here"),
        ("a: [[[[[[[[[[[]]]]]]]]]]]\n", "1: nested too deeply"),
        ("model: 'a\n", "2: found unexpected end of stream"),
        ("a: b: c\n", "1: mapping values are not allowed here"),
        ("limits: {}\n---\nlimits: {}\n", "2: but found another document"),
        (b"model: \xff\n", "1: not YAML: "),
        (b"model: \x00\n", "1: not YAML: "),
        ("model: !secret x\n", "1: model: expected ENDPOINT/MODEL like embedded/smollm2, found x"),
        ("provider: !!python/object/apply:os.system [x]\n", "1: provider: expected a name"),
        ('"\\e[31m": 1\n', "1: \\x1b[31m: unknown key"),
    ],
)
def test_a_fault(tmp_path: Path, text: str | bytes, fault: str):
    assert faults(tmp_path, text)[0].startswith(fault)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///v1",
        "https://user:password@example.org/v1",
        "https://example.org/v1?key=1",
        "https://example.org/v1?",
        "https://example.org/v1#x",
        "https://example.org:99999/v1",
        "https://[::1/v1",
        "unix:///run/x.sock",
        "file:///etc/passwd",
        "http://exa mple.org",
    ],
)
def test_a_url_that_no_endpoint_can_have(tmp_path: Path, url: str):
    assert faults(tmp_path, f'endpoints: {{x: {{url: "{url}"}}}}')[0].startswith("1: endpoints.x.url: expected an http")


def test_a_file_over_the_bound_is_refused(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="longer than"):
        load(path)


def test_a_directory_in_its_place_is_an_error_and_not_the_defaults(tmp_path: Path):
    with pytest.raises(ConfigError, match="directory"):
        load(tmp_path)


def test_endpoints_join_the_embedded_one_or_replace_it(tmp_path: Path):
    config = read(tmp_path, 'endpoints: {x: {url: "https://example.org/v1/", credential: key-1, paths: [models]}}')
    assert config.endpoints == {
        "embedded": EMBEDDED,
        "x": Endpoint(url="https://example.org/v1", credential="key-1", paths=("models",)),
    }
    assert config.endpoints["x"].address() == "https://example.org/v1"
    replaced = read(tmp_path, "endpoints: {embedded: {socket: /run/other.sock}}")
    assert replaced.endpoints == {"embedded": Endpoint(socket="/run/other.sock")}
    assert replaced.endpoints["embedded"].address() == "http://localhost"


def test_auto_and_sizes(tmp_path: Path):
    limits = "{max_awake: auto, memory_budget: auto, session_memory: 64M, min_free_disk: 0}"
    config = read(tmp_path, f"limits: {limits}\ngateway: {{max_body: 65536}}")
    assert config.limits.max_awake == default_awake()
    assert 4 <= default_awake() <= 64
    assert config.limits.memory_budget == half_of_memory()
    assert (config.limits.session_memory, config.limits.min_free_disk, config.gateway.max_body) == (2**26, 0, 65_536)


@given(st.integers(0, 10**6), st.sampled_from([("", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40)]))
def test_a_size_is_its_number_times_its_unit(number: int, unit: tuple[str, int]):
    letter, power = unit
    assert parse_size(f"{number}{letter}") == number << power
    if letter:
        assert parse_size(f"{number}{letter}iB") == number << power


@pytest.mark.parametrize("text", ["", "M", "-1M", "1.5G", "1 M", "1P", "1m", "1e3", "1" * 17, "\u0661M"])
def test_other_sizes_are_refused(text: str):
    with pytest.raises(ValueError):
        parse_size(text)


def problems_of(path: Path) -> tuple[str, ...]:
    try:
        load(path)
    except ConfigError as error:
        return error.problems
    return ()


@given(st.binary(max_size=200))
def test_whatever_the_file_holds_it_is_a_configuration_or_a_told_fault(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
):
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(text)
    assert all(problem.isprintable() for problem in problems_of(path))


words = st.sampled_from(
    [
        "model",
        "endpoints",
        "limits",
        "x",
        "url",
        "idle",
        "~",
        "1",
        ".inf",
        "- ",
        "{",
        "[",
        "'",
        "&a",
        "*a",
        "!!set",
        "<<",
        "2001-01-01",
        "1:2",
    ]
)


@given(st.lists(st.tuples(st.integers(0, 4), words, st.sampled_from([": ", ":\n", "\n", ", "])), max_size=12))
def test_so_it_is_for_whatever_looks_like_yaml(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, str, str]]
):
    text = "".join(" " * depth + word + end for depth, word, end in parts)
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_text(text)
    assert all(problem.startswith(f"{path}:") for problem in problems_of(path))


@pytest.mark.parametrize(
    "spec", ["", "embedded", "embedded/", "/x", "Embedded/x", "embedded/a b", "embedded/\n", "x" * 400]
)
def test_a_model_has_the_form_endpoint_slash_model(spec: str):
    with pytest.raises(InvalidName, match="ENDPOINT/MODEL"):
        Config().resolve_model(spec)


def test_a_models_own_name_may_hold_slashes_and_its_endpoint_must_exist():
    assert Config().resolve_model("embedded/vendor/model:7b") == ModelChoice("embedded", "vendor/model:7b")
    with pytest.raises(NotFound, match="there are: embedded"):
        Config().resolve_model("ollama/x")


def test_channels_keep_their_options_and_lines(tmp_path: Path):
    text = """\
channels:
  work:
    type: telegram
    threads: true
    limits: {rate: 2.5, "odd.key": x}
    admins:
      - alice
      - 17
  private: {type: telegram, note: ~}
"""
    work, private = read(tmp_path, text).channels.values()
    assert (work.name, work.type, private.name, private.type) == ("work", "telegram", "private", "telegram")
    assert work.options == {"threads": True, "limits": {"rate": 2.5, "odd.key": "x"}, "admins": ["alice", 17]}
    assert private.options == {"note": None}
    place = f"{tmp_path}/config.yaml"
    assert work.place() == f"{place}:2: channels.work"
    assert work.place("threads") == f"{place}:4: channels.work.threads"
    assert work.place("limits.rate") == f"{place}:5: channels.work.limits.rate"
    assert work.place("admins[1]") == f"{place}:6: channels.work.admins[1]"
    assert work.place("token") == f"{place}:2: channels.work.token"
    assert private.place("note") == f"{place}:9: channels.private.note"


def test_the_access_section(tmp_path: Path):
    text = "access: {unknown_chats: public, unknown_senders: strict, approval_hours: 0.5, default_group: 2nd-home}"
    assert read(tmp_path, text).access == Access(
        unknown_chats="public", unknown_senders="strict", approval_hours=0.5, default_group="2nd-home"
    )
    assert Config().access == Access("request_approval", "request_approval", 24.0, None)


def test_faults_of_channels_and_access(tmp_path: Path):
    text = """\
channels:
  Work: {type: telegram}
  one: {threads: true}
  two: telegram
  three: {type: 7}
  four: {type: telegram, since: 2026-01-01, since: now}
  ends-in-: {type: telegram}
access:
  unknown_chats: maybe
  unknown_senders: true
  approval_hours: 0
  default_group: ../etc
  who: me
"""
    rule = "expected a name of a-z, 0-9 and - that begins and ends with a letter or digit, at most 31 characters, found"
    policy = "expected strict, request_approval or public, found"
    assert faults(tmp_path, text) == [
        f'2: channels.Work: {rule} "Work"',
        "3: channels.one: type is missing: which adapter is it, like telegram?",
        '4: channels.two: expected a mapping (key: value), found "telegram"',
        "5: channels.three.type: expected a name of a-z, 0-9, - and _, found 7",
        "6: channels.four.since: stands here twice",
        f'7: channels.ends-in-: {rule} "ends-in-"',
        f'9: access.unknown_chats: {policy} "maybe"',
        f"10: access.unknown_senders: {policy} true",
        "11: access.approval_hours: expected hours, from 0.001 to 8760, found 0",
        '12: access.default_group: expected an agent group\'s name, found "../etc"',
        "13: access.who: unknown key; known here: unknown_chats, unknown_senders, approval_hours, default_group",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("channels: {terminal: {type: x}}", "1: channels.terminal: the terminal is always there; another name"),
        ("channels:\n  agent: {type: x}", "2: channels.agent: agents write to each other under this name"),
        ("access:\n  unknown_chats: public", "2: access.unknown_chats: public needs access.default_group"),
        (
            "channels:\n  a: {type: x,\n   when: 2026-01-01}",
            "3: channels.a.when: expected true, false, a number, a text or nothing; quote what is a text, found 2026-",
        ),
    ],
)
def test_faults_between_keys_of_channels_and_access(tmp_path: Path, text: str, fault: str):
    (found,) = faults(tmp_path, text)
    assert found.startswith(fault)
