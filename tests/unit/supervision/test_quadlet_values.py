"""What a value must not bring into a unit file: each placeholder has its own closed alphabet."""

import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_quadlets import BUILD, ROOT, TEMPLATE

from nanoclawd.errors import InvalidName
from nanoclawd.paths import StatePaths
from nanoclawd.supervision.quadlets import UnitFiles, render

# What a unit file, a shell-like word splitter, a mount or a path would take for something else.
EVIL = [
    "a\nExecStart=/bin/sh",
    "a\rb",
    "a b",
    "a\tb",
    "%h",
    "a,b",
    "",
    "$(id)",
    "${HOME}",
    "a;b",
    'a"b',
    "a'b",
    "a\\b",
    "a\0b",
    "a=b",
    "größe",
    "a\N{NO-BREAK SPACE}b",
    "a\N{LINE SEPARATOR}b",
]
PATHS = ["/a:/b", "/a:/etc:rw", "relative", "/a/../../etc", "..", "/a,b", "-v"]


def units(tmp_path: Path) -> UnitFiles:
    return UnitFiles(ROOT / "quadlets", StatePaths(tmp_path))


def written(tmp_path: Path) -> list[str]:
    return [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("value", [*EVIL, "a/b", "../a", "A", "a@b", "a:b", "a.b", "-a", "a-", "a" * 32, "model"])
def test_groups(tmp_path: Path, value: str):
    with pytest.raises(InvalidName):
        units(tmp_path).write_group(replace(TEMPLATE, group=value))
    assert written(tmp_path) == []


@pytest.mark.parametrize("field", ["image", "runner", "timezone"])
@pytest.mark.parametrize("value", EVIL)
def test_values_of_a_group(tmp_path: Path, field: str, value: str):
    with pytest.raises(InvalidName, match=field):
        units(tmp_path).write_group(replace(TEMPLATE, **{field: value}))
    assert written(tmp_path) == []


@pytest.mark.parametrize("value", ["../../etc", "C0FFEE", "c0ffee/..", "c0ffee:rw", "."])
def test_runner_trees(tmp_path: Path, value: str):
    with pytest.raises(InvalidName, match="runner"):
        units(tmp_path).write_group(replace(TEMPLATE, runner=value))


@pytest.mark.parametrize("field", ["uid", "watchdog_seconds", "ready_seconds", "memory_bytes", "tasks"])
@pytest.mark.parametrize("value", [-1, 1.5, "0 ", "infinity", True])
def test_numbers(tmp_path: Path, field: str, value: object):
    with pytest.raises(InvalidName):
        units(tmp_path).write_group(replace(TEMPLATE, **{field: value}))
    assert written(tmp_path) == []


@pytest.mark.parametrize("root", ["/var/lib/na:no", "/var/lib/na no", "/var/lib/50%", "/var/lib/a,b"])
def test_state_roots(tmp_path: Path, root: str):
    """A disk that is mounted at such a place is refused with a word, before anything is written."""
    with pytest.raises(InvalidName, match="state"):
        UnitFiles(ROOT / "quadlets", StatePaths(tmp_path / root[1:])).write_group(TEMPLATE)
    assert written(tmp_path) == []


@pytest.mark.parametrize("field", ["context", "wheels"])
@pytest.mark.parametrize("value", [*PATHS, *(f"/{evil}" for evil in EVIL if evil and "\0" not in evil)])
def test_paths_of_a_build(tmp_path: Path, field: str, value: str):
    with pytest.raises(InvalidName, match=field):
        units(tmp_path).write_build(replace(BUILD, **{field: Path(value)}))
    assert written(tmp_path) == []


@pytest.mark.parametrize("field", ["stage", "tag", "base_image", "network"])
@pytest.mark.parametrize("value", [*EVIL, "-x"])
def test_values_of_a_build(tmp_path: Path, field: str, value: str):
    with pytest.raises(InvalidName, match=field):
        units(tmp_path).write_build(replace(BUILD, **{field: value}))
    assert written(tmp_path) == []


@pytest.mark.parametrize("image", ["docker.io/library/debian:trixie-slim", "localhost:5000/a/b_c@sha256:0123abcd"])
def test_names_of_base_images(tmp_path: Path, image: str):
    assert units(tmp_path).write_build(replace(BUILD, base_image=image))


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT+5", "America/Port-au-Prince", "America/Argentina/Buenos_Aires"])
def test_time_zones(tmp_path: Path, zone: str):
    assert units(tmp_path).write_group(replace(TEMPLATE, timezone=zone))


@pytest.mark.parametrize("share", ["/a:/b", "relative", "/a b"])
def test_the_packages_own_directory(tmp_path: Path, share: str):
    with pytest.raises(InvalidName, match="share"):
        units(tmp_path).write_model("localhost/nanoclaw-model:0123456789ab", Path(share), 600)
    assert written(tmp_path) == []


@given(st.text(max_size=20))
def test_a_value_adds_no_line(value: str):
    """Whatever is let through stays within its line, and within its word."""
    template = "# about\n\n[Service]\nExec=before ${image} after\n"
    try:
        text = render(template, {"image": value})
    except InvalidName:
        return
    assert text.splitlines()[-1] == f"Exec=before {value} after"
    assert set(value) <= set(string.ascii_letters + string.digits + "/._@:-")


def test_a_placeholder_without_a_rule_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        render("# about\n\n[Service]\nExec=${whatever}\n", {"whatever": "x"})


def test_writing_says_whether_anything_changed(tmp_path: Path):
    """A reload costs time: nothing new, no reload."""
    files = units(tmp_path)
    assert files.write_group(TEMPLATE)
    assert not files.write_group(TEMPLATE)
    assert files.write_group(replace(TEMPLATE, runner="c0ffef"))
    assert files.groups() == {"a-b"}
    assert files.write_group(replace(TEMPLATE, group="a"))
    assert files.groups() == {"a", "a-b"}
    assert files.remove_group("a")
    assert not files.remove_group("a")
    assert files.groups() == {"a-b"}
    files.were_read()
    assert sorted(written(tmp_path)) == [
        ".config/containers/systemd/nanoclaw-a-b@.container",
        ".config/systemd/user/nanoclaw-a-b@.socket",
    ]
