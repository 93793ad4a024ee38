"""The interface files say what the code does, and systemd's own client understands them."""

import asyncio
import dataclasses
import json
import shutil
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from varlink.scanner import Interface, _Alias, _Array, _CustomType, _Enum, _Error, _Maybe, _Method, _Struct

from memory_backend import Memory
from memory_backend.harness import serving
from nanoclawd.control import values
from nanoclawd.control.introspection import INTERFACES, Introspection
from nanoclawd.control.server import ControlServer
from nanoclawd.doctor import finding

_COMMON_ERRORS = {
    "InvalidName", "NotFound", "AlreadyExists", "TooLarge", "Unavailable", "Refused", "Failed", "Internal",
}  # fmt: skip


def _interface(name: str) -> Interface:
    return Introspection(names=[*INTERFACES, "Credentials"])._service.interfaces[f"io.nanoclaw.{name}"]


def _of_python(kind: Any) -> object:
    """Bring a Python annotation to the form that _of_varlink has."""
    if isinstance(kind, typing.TypeAliasType):
        return _of_python(kind.__value__)
    if typing.get_origin(kind) is typing.Annotated:
        return _of_python(typing.get_args(kind)[0])
    if isinstance(kind, types.UnionType):
        (inner,) = [one for one in typing.get_args(kind) if one is not types.NoneType]
        return ("maybe", _of_python(inner))
    if typing.get_args(kind):
        return ("array", _of_python(typing.get_args(kind)[0]))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ("enum", tuple(str(one) for one in kind))
    if dataclasses.is_dataclass(kind):
        return _fields(kind)
    return kind


def _fields(kind: Any) -> dict[str, object]:
    return {name: _of_python(found) for name, found in typing.get_type_hints(kind, include_extras=True).items()}


def _of_varlink(interface: Interface, kind: Any) -> object:
    if isinstance(kind, _CustomType):
        return _of_varlink(interface, interface.members[kind.name].type)
    if isinstance(kind, _Maybe):
        return ("maybe", _of_varlink(interface, kind.element_type))
    if isinstance(kind, _Array):
        return ("array", _of_varlink(interface, kind.element_type))
    if isinstance(kind, _Enum):
        return ("enum", tuple(kind.fields))
    if isinstance(kind, _Struct):
        return {name: _of_varlink(interface, found) for name, found in kind.fields.items()}
    return type(kind)


@pytest.mark.parametrize("name", INTERFACES)
def test_every_method_is_served_and_takes_what_the_file_says(name: str):
    interface = _interface(name)
    served = ControlServer(Memory())._methods
    methods = {member.name: member for member in interface.members.values() if isinstance(member, _Method)}
    assert {f"io.nanoclaw.{name}.{method}" for method in methods} == {
        full for full in served if full.startswith(f"io.nanoclaw.{name}.")
    }
    for method in methods.values():
        declared = _of_varlink(interface, method.in_type)
        structs = msgspec.structs.fields(served[f"io.nanoclaw.{name}.{method.name}"].parameters)
        assert {field.name: _of_python(field.type) for field in structs} == declared


@pytest.mark.parametrize("name", [*INTERFACES, "Credentials"])
def test_types_are_those_of_the_values(name: str):
    interface = _interface(name)
    aliases = [member for member in interface.members.values() if isinstance(member, _Alias)]
    assert aliases
    for alias in aliases:
        kind = getattr(values, alias.name, None) or getattr(finding, alias.name)
        assert _of_python(kind) == _of_varlink(interface, alias.type), alias.name


@pytest.mark.parametrize(
    ("name", "method", "value"),
    [
        ("Appliance", "Status", values.ApplianceStatus),
        ("Chat", "Send", values.Sent),
        ("Chat", "Attach", values.ChatEvent),
        ("Images", "Build", values.BuildProgress),
    ],
)
def test_replies_are_the_values(name: str, method: str, value: type):
    interface = _interface(name)
    assert _fields(value) == _of_varlink(interface, interface.members[method].out_type)


@pytest.mark.parametrize("name", INTERFACES)
def test_errors_have_a_message_and_a_hint(name: str):
    interface = _interface(name)
    errors = {member.name: member for member in interface.members.values() if isinstance(member, _Error)}
    assert errors.keys() >= _COMMON_ERRORS
    for error in errors.values():
        assert list(error.type.fields)[:2] == ["message", "hint"]


async def _varlinkctl(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "varlinkctl", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_varlinkctl_of_systemd_understands_us(tmp_path: Path):
    if shutil.which("varlinkctl") is None:
        # systemd before 257 has none; the builder and the bed do.
        pytest.fail("varlinkctl is missing: run the tests in the builder (tests/bed/bed builder)")
    async with serving(tmp_path) as running:
        status, output = await _varlinkctl("info", running.path)
        assert status == 0, output
        for name in INTERFACES:
            assert f"io.nanoclaw.{name}" in output
            status, text = await _varlinkctl("introspect", running.path, f"io.nanoclaw.{name}")
            assert status == 0, text
        status, output = await _varlinkctl("call", running.path, "io.nanoclaw.Groups.Create", '{"name":"main"}')
        assert status == 0, output
        assert json.loads(output)["group"]["name"] == "main"
        status, output = await _varlinkctl("call", running.path, "io.nanoclaw.Groups.Get", '{"name":"none"}')
        assert status != 0
        assert "io.nanoclaw.Groups.NotFound" in output
        status, output = await _varlinkctl("call", "--more", running.path, "io.nanoclaw.Images.Build", "{}")
        assert status == 0, output
        assert output.count('"event"') == 6
