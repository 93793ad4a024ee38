"""Names of units and of their D-Bus objects, compared with libsystemd's own encoder."""

import ctypes
import string
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from nanoclawd.supervision.units import SessionUnits, parse_session_unit
from nanoclawd.supervision.user_manager import unit_name, unit_path

PREFIX = "/org/freedesktop/systemd1/unit"
# systemd.unit(5): the characters of a unit's name.
UNIT_CHARACTERS = string.ascii_letters + string.digits + ":-_.\\@"

libsystemd = ctypes.CDLL("libsystemd.so.0")
libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]


def encoded_by_systemd(unit: str) -> str:
    """sd_bus_path_encode(3)"""
    answer = ctypes.c_void_p()
    assert libsystemd.sd_bus_path_encode(PREFIX.encode(), unit.encode(), ctypes.byref(answer)) >= 0
    assert answer.value is not None
    try:
        return ctypes.string_at(answer.value).decode()
    finally:
        libc.free(answer)


@given(st.text(UNIT_CHARACTERS, min_size=1, max_size=100))
@example("nanoclaw-a-b@0123456789ab.service")
@example("0.service")
@example("_5f")
@example("a_2db")
def test_paths_are_systemds(unit: str):
    assert unit_path(unit) == encoded_by_systemd(unit)
    assert unit_name(unit_path(unit)) == unit


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
@example("größe.service")
@example("\U0001f980.service")
def test_any_text_is_encoded_as_systemd_does(unit: str):
    assert unit_path(unit) == encoded_by_systemd(unit)
    assert unit_name(unit_path(unit)) == unit


groups = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?\Z").filter(lambda name: "\n" not in name)
session_ids = st.text(string.ascii_lowercase + string.digits, min_size=12, max_size=12)


@given(group=groups, session_id=session_ids)
def test_a_session_is_known_by_its_unit(group: str, session_id: str):
    units = SessionUnits(group, session_id, Path("/run/user/1"))
    assert parse_session_unit(units.service) == (group, session_id)
    assert parse_session_unit(units.socket) is None
    assert units.socket.removesuffix("socket") == units.service.removesuffix("service")


def test_two_sessions_never_share_a_doorbell():
    one = SessionUnits("a", "b-c", Path("/run/user/1"))
    other = SessionUnits("a-b", "c", Path("/run/user/1"))
    assert one.doorbell != other.doorbell
    assert one.service != other.service


def test_other_units_are_no_sessions():
    for unit in ("nanoclaw-model.service", "nanoclaw-image-agent.service", "dbus.service", "x@y.service"):
        assert parse_session_unit(unit) is None
