"""Skills: found, chosen, linked where Claude's client looks, and described to other models."""

from pathlib import Path

import pytest

from nanoclaw_runner.skills import available, link, overview

SHIPPED_SKILLS = Path(__file__).parents[3] / "skills"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for source, name, text in (
        ("shipped", "tour", "---\nname: tour\ndescription: Shows people round.\n---\n# Tour"),
        ("shipped", "pdf", "---\ndescription: 'Reads PDFs'\n---\n"),
        ("own", "pdf", "# no heading"),
        ("own", "zoo", "---\nname: zoo\n---\ndescription: not in the heading"),
    ):
        directory = tmp_path / "app" / source / name
        directory.mkdir(parents=True)
        (directory / "SKILL.md").write_text(text)
    (tmp_path / "app" / "own" / "no-skill").mkdir()
    (tmp_path / "app" / "own" / "Bad Name").mkdir()
    (tmp_path / "app" / "own" / "Bad Name" / "SKILL.md").write_text("x")
    return tmp_path / "app"


def links(directory: Path) -> dict[str, str]:
    return {path.name: str(path.readlink()) for path in directory.iterdir() if path.is_symlink()}


def test_all_means_what_is_there_at_each_start(root: Path, tmp_path: Path):
    """F-185: a directory that is added is there at the next start; the operator's own counts before the package's."""
    home = tmp_path / "home" / ".claude" / "skills"
    link(available(root, None), home)
    assert links(home) == {
        "pdf": f"{root}/own/pdf",
        "tour": f"{root}/shipped/tour",
        "zoo": f"{root}/own/zoo",
    }
    (root / "own" / "new").mkdir()
    (root / "own" / "new" / "SKILL.md").write_text("---\ndescription: d\n---\n")
    link(available(root, None), home)
    assert "new" in links(home)


def test_a_list_means_exactly_these(root: Path, tmp_path: Path):
    """F-186: a name that is taken out of the list is gone at the next start; one that is not there is no fault."""
    home = tmp_path / "home" / ".claude" / "skills"
    link(available(root, ("tour", "pdf", "missing")), home)
    assert sorted(links(home)) == ["pdf", "tour"]
    link(available(root, ("tour",)), home)
    assert sorted(links(home)) == ["tour"]
    link(available(root, ()), home)
    assert links(home) == {}


def test_what_the_agent_has_made_is_left_alone(root: Path, tmp_path: Path):
    """F-187: a directory of its own stays, also one that has a shared skill's name."""
    home = tmp_path / "home" / ".claude" / "skills"
    for name in ("mine", "tour"):
        (home / name).mkdir(parents=True)
        (home / name / "SKILL.md").write_text("my own")
    link(available(root, None), home)
    link(available(root, ()), home)
    assert (home / "mine" / "SKILL.md").read_text() == "my own"
    assert (home / "tour" / "SKILL.md").read_text() == "my own"


def test_a_home_that_cannot_be_written_is_no_reason_to_be_silent(root: Path, tmp_path: Path):
    (tmp_path / "home").write_text("a file")
    link(available(root, None), tmp_path / "home" / ".claude" / "skills")


def test_other_models_are_told_of_them(root: Path):
    text = overview(available(root, None))
    assert f"- tour: Shows people round. ({root}/shipped/tour/SKILL.md)" in text
    assert "- zoo: no description" in text
    assert overview([]) == ""


def test_the_packages_own_skills_can_be_read():
    found = available(SHIPPED_SKILLS.parent, None) or []
    names = sorted(path.name for path in SHIPPED_SKILLS.iterdir())
    assert names == ["self-customize", "welcome"]
    assert found == []
    for name in names:
        text = (SHIPPED_SKILLS / name / "SKILL.md").read_text()
        assert text.startswith(f"---\nname: {name}\ndescription: ")
