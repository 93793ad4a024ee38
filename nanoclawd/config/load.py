"""Read the configuration file, and say of every fault the line, the key and what was expected.

PyYAML composes the file into nodes, which know their lines; a walk beside the structs of :mod:`nanoclawd.config.model`
converts each value by itself, so that one load reports all faults.
"""

from pathlib import Path
from types import NoneType
from typing import Any, TypeAliasType, get_args, get_origin

import msgspec
import yaml

from nanoclawd.config.model import EMBEDDED, Channel, Config, Endpoint, Gateway, OneCli
from nanoclawd.config.values import ChannelName, EndpointName, PlainValue, Word
from nanoclawd.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024
"""A longer file is refused."""

_MAX_DEPTH = 8
_SHOWN_CHARACTERS = 60
_NOTHING = object()
_ONECLI = "onecli"
"""In the place of the section ``gateway``: OneCLI, where it is by default."""


class _Loader(yaml.SafeLoader):
    """Composes nodes only: no aliases (they multiply), no depth beyond what a configuration has."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (*name) cannot be used here", problem_mark=mark)
        if self._depth >= _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def load(path: Path) -> Config:
    """Return what the file says; a missing or empty file says the defaults.

    Raises:
        ConfigError: the file cannot be read or used; it holds every fault found.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: longer than {MAX_FILE_BYTES} bytes"])
    return _Reading(path).read(text)


class _Reading:
    """One reading of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problems: list[tuple[int, str]] = []
        self._lines: dict[str, int] = {}

    def read(self, text: bytes) -> Config:
        """Return the configuration.

        Raises:
            ConfigError: with all faults, in the order of their lines.
        """
        try:
            node = _Loader(text).get_single_node()
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self._report(line, "", error.problem or "not YAML")
            raise self._error() from None
        except (yaml.YAMLError, ValueError) as error:
            self._report(1, "", f"not YAML: {' '.join(str(error).split())}")
            raise self._error() from None
        if node is None or _is_null(node):
            return Config()
        config = self._struct(node, Config, "")
        if self._problems or not isinstance(config, Config):
            raise self._error()
        for key, problem in config.problems():
            self._report(self._line_of(key), key, problem)
        if self._problems:
            raise self._error()
        return config

    def _report(self, line: int, key: str, problem: str) -> None:
        self._problems.append((line, f"{self._path}:{line}: {key}{': ' if key else ''}{problem}"))

    def _error(self) -> ConfigError:
        return ConfigError([text for _, text in sorted(self._problems, key=lambda problem: problem[0])])

    def _line_of(self, key: str) -> int:
        """Return the line of a key or, when the file leaves it out, of the nearest key around it."""
        while key and key not in self._lines:
            key = key.rpartition(".")[0]
        return self._lines.get(key, 1)

    def _pairs(self, node: yaml.Node, place: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        """Return a mapping's keys with the nodes of key and value; anything else is reported."""
        if not isinstance(node, yaml.MappingNode):
            self._report(_line(node), place, f"expected a mapping (key: value), found {_shown(node)}")
            return []
        seen: set[str] = set()
        pairs: list[tuple[str, yaml.Node, yaml.Node]] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(_line(key_node), place, "a key must be a word")
                continue
            key = key_node.value
            full = f"{place}.{key}" if place else key
            if key in seen:
                self._report(_line(key_node), _clean(full), "stands here twice")
                continue
            seen.add(key)
            self._lines[full] = _line(key_node)
            pairs.append((key, key_node, value_node))
        return pairs

    def _struct(self, node: yaml.Node, struct: type[msgspec.Struct], place: str) -> object:
        kinds = {field.name: field.type for field in msgspec.structs.fields(struct)}
        values: dict[str, object] = {}
        before = len(self._problems)
        for key, key_node, value_node in self._pairs(node, place):
            full = f"{place}.{key}" if place else key
            if key not in kinds:
                known = ", ".join(kinds)
                self._report(_line(key_node), _clean(full), f"unknown key; known here: {known}")
                continue
            value = self._value(value_node, kinds[key], full)
            if value is not _NOTHING:
                values[key] = value
        if len(self._problems) > before:
            return _NOTHING
        made = struct(**values)
        problem = made.problem() if isinstance(made, Endpoint) else None
        if problem:
            self._report(self._line_of(place), place, problem)
            return _NOTHING
        return made

    def _value(self, node: yaml.Node, kind: Any, place: str) -> object:
        """Return a node's value as its kind, or nothing: after a fault, or for an emptied section (its defaults)."""
        origin = get_origin(kind)
        if kind is Gateway and isinstance(node, yaml.ScalarNode) and node.value == _ONECLI:
            return Gateway(onecli=OneCli())
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return _NOTHING if _is_null(node) else self._struct(node, kind, place)
        if origin is dict:
            if _is_null(node):
                return _NOTHING
            return self._endpoints(node, place) if get_args(kind)[1] is Endpoint else self._channels(node, place)
        if origin is tuple:
            return self._list(node, get_args(kind)[0], place)
        if NoneType in get_args(kind):  # the model has no union but `X | None`
            return None if _is_null(node) else self._value(node, get_args(kind)[0], place)
        return self._leaf(node, kind, place)

    def _endpoints(self, node: yaml.Node, place: str) -> dict[str, Endpoint]:
        found = {"embedded": EMBEDDED}
        for name, key_node, value_node in self._pairs(node, place):
            self._leaf(key_node, EndpointName, f"{place}.{_clean(name)}", text=name)
            endpoint = self._struct(value_node, Endpoint, f"{place}.{_clean(name)}")
            if isinstance(endpoint, Endpoint):
                found[name] = endpoint
        return found

    def _channels(self, node: yaml.Node, place: str) -> dict[str, Channel]:
        found: dict[str, Channel] = {}
        for name, key_node, value_node in self._pairs(node, place):
            full = f"{place}.{_clean(name)}"
            before = len(self._problems)
            self._leaf(key_node, ChannelName, full, text=name)
            values = {key: (key_node, value) for key, key_node, value in self._pairs(value_node, full)}
            if len(self._problems) > before:
                continue
            if "type" not in values:
                self._report(_line(key_node), full, "type is missing: which adapter is it, like telegram?")
                continue
            kind = self._leaf(values.pop("type")[1], Word, f"{full}.type")
            options = {key: self._plain(value, f"{full}.{_clean(key)}") for key, (_, value) in values.items()}
            if isinstance(kind, str) and len(self._problems) == before:
                below = f"{full}."
                lines = {key.removeprefix(below): line for key, line in self._lines.items() if key.startswith(below)}
                lines[""] = _line(key_node)
                found[name] = Channel(type=kind, options=options, name=name, file=str(self._path), lines=lines)
        return found

    def _plain(self, node: yaml.Node, place: str) -> object:
        """Return an option's value as it stands: its adapter knows what it is to be."""
        if isinstance(node, yaml.MappingNode):
            return {key: self._plain(value, f"{place}.{_clean(key)}") for key, _, value in self._pairs(node, place)}
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, f"{place}[{index}]") for index, item in enumerate(node.value)]
        return self._leaf(node, PlainValue, place)

    def _list(self, node: yaml.Node, kind: Any, place: str) -> object:
        if not isinstance(node, yaml.SequenceNode):
            self._report(_line(node), place, f"expected a list, found {_shown(node)}")
            return _NOTHING
        return tuple(self._leaf(item, kind, f"{place}[{index}]") for index, item in enumerate(node.value))

    def _leaf(self, node: yaml.Node, kind: TypeAliasType, place: str, *, text: str | None = None) -> object:
        annotated = kind.__value__
        meta: msgspec.Meta = annotated.__metadata__[0]
        parse = (meta.extra or {}).get("parse")
        try:
            if not isinstance(node, yaml.ScalarNode):
                raise yaml.YAMLError(place)
            value = _scalar(node) if text is None else text
            return msgspec.convert(parse(value) if parse else value, annotated)
        except (msgspec.ValidationError, yaml.YAMLError, ValueError):
            self._report(_line(node), place, f"expected {meta.description}, found {_shown(node)}")
            return _NOTHING


def _scalar(node: yaml.ScalarNode) -> object:
    return yaml.constructor.SafeConstructor().construct_object(node)


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _clean(text: str) -> str:
    return text[:_SHOWN_CHARACTERS].encode("unicode_escape").decode("ascii")


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if _is_null(node):
        return "nothing"
    text = _clean(node.value)
    return f'"{text}"' if node.tag == "tag:yaml.org,2002:str" else text
