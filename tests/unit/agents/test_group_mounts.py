"""Directories of the machine: what may be given, and what is left out."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from nanoclawd.agents.mounts import SECRETS, check_apart, check_name, effective, judged, problem
from nanoclawd.config import Mounts
from nanoclawd.errors import InvalidName, NotFound, Refused
from nanoclawd.store.group_configuration import Mount


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("docs/deep", "shared", "state", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path.resolve()


def allowed(root: Path) -> Mounts:
    return Mounts(readable=(f"{root}/docs", f"{root}/missing"), writable=(f"{root}/shared",))


def test_only_what_both_sides_say(root: Path):
    """Read-only unless the file and the group's configuration say otherwise."""
    rules = allowed(root)
    assert judged(f"{root}/docs/deep", rules, (), writable=False) == root / "docs" / "deep"
    with pytest.raises(Refused, match="to be read only"):
        judged(f"{root}/docs", rules, (), writable=True)
    with pytest.raises(Refused, match="may not be given"):
        judged(f"{root}/elsewhere", rules, (), writable=False)
    given = [
        Mount("a", f"{root}/docs", writable=True),
        Mount("b", f"{root}/shared", writable=True),
        Mount("c", f"{root}/shared"),
        Mount("d", f"{root}/elsewhere"),
    ]
    assert effective(given, rules, ()) == [Mount("a", f"{root}/docs"), given[1], given[2]]
    assert effective(given, Mounts(), ()) == []


@pytest.mark.parametrize(
    ("path", "writable", "other", "other_writable", "refused"),
    [
        ("/srv/team/plans", False, "/srv/team", True, True),
        ("/srv/team", True, "/srv/team/plans", False, True),
        ("/srv/team/plans", False, "/srv/team", False, False),
        ("/srv/team", True, "/srv/team", True, False),
        ("/srv/team2", True, "/srv/team", True, False),
    ],
)
def test_no_agent_can_put_a_link_in_the_place_of_what_is_given(
    path: str, writable: bool, other: str, other_writable: bool, refused: bool
):
    """W-71: below a directory that an agent may write to nothing is what it was when we looked."""
    with pytest.raises(Refused, match="in its place") if refused else nullcontext():
        check_apart(Mount("new", path, writable), [("main", Mount("old", other, other_writable))])


def test_what_a_directory_is_now_counts(root: Path):
    """W-71: nothing is remembered; a link that was put in its place is seen at the next look."""
    rules = allowed(root)
    mount = Mount("deep", f"{root}/docs/deep")
    assert problem(mount, rules, ()) == ""
    (root / "docs" / "deep").rmdir()
    assert "there is no directory" in problem(mount, rules, ())
    (root / "docs" / "deep").symlink_to(root / "elsewhere")
    assert "may not be given" in problem(mount, rules, ())
    (root / "docs" / "deep").unlink()
    (root / "docs" / "deep").symlink_to(root / "shared")
    assert "is a link to" in problem(mount, rules, ())
    (root / "docs" / "deep").unlink()
    (root / "docs" / "deep").mkdir()
    assert problem(mount, rules, ()) == ""
    with pytest.raises(Refused):
        judged(f"{root}/docs", Mounts(), (), writable=False)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_secrets_are_never_given(root: Path, name: str):
    """By any component of the real path, however it is written."""
    secret = root / "docs" / name.upper() / "below"
    secret.mkdir(parents=True)
    (root / "docs" / "innocent").symlink_to(secret)
    for path in (secret, root / "docs" / "innocent", secret.parent):
        with pytest.raises(Refused, match="secrets"):
            judged(str(path), allowed(root), (), writable=False)


def test_the_appliances_own_is_never_given(root: Path):
    private = (root / "state",)
    rules = Mounts(readable=(str(root),))
    for path in (root / "state", root):
        with pytest.raises(Refused, match="the appliance's own"):
            judged(str(path), rules, private, writable=False)


@pytest.mark.parametrize("name", ["a:b", "a,b", "a b", "a%h", "a\nVolume=x", "ä", "a'b"])
def test_paths_that_no_unit_file_could_hold(root: Path, name: str):
    (root / "docs" / name).mkdir()
    with pytest.raises(InvalidName, match="only letters"):
        judged(f"{root}/docs/{name}", allowed(root), (), writable=False)


@pytest.mark.parametrize("path", ["docs", "", "~/docs", "/srv/../etc"])
def test_paths_are_absolute(root: Path, path: str):
    with pytest.raises(InvalidName):
        judged(path, allowed(root), (), writable=False)


def test_a_file_is_no_directory(root: Path):
    (root / "docs" / "file").write_text("x")
    with pytest.raises(NotFound):
        judged(f"{root}/docs/file", allowed(root), (), writable=False)


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", ".", "a" * 32, "a:rw"])
def test_names_below_mnt(name: str):
    assert check_name("team_a-1") == "team_a-1"
    with pytest.raises(InvalidName):
        check_name(name)
