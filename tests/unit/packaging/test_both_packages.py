"""What is new in the tree must be in both packages: units, libraries (F-205)."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def units() -> set[str]:
    return {path.name for kind in ("service", "socket") for path in (ROOT / "units").glob(f"*.{kind}")}


def test_the_preset_says_of_each_unit_that_can_be_enabled_whether_it_is():
    """W-56: only the listener for other programs is somebody's own choice."""
    preset = (ROOT / "units" / "nanoclawd.preset").read_text()
    said = {word: set(re.findall(rf"^{word} (\S+)$", preset, re.MULTILINE)) for word in ("enable", "disable")}
    can_be = {name for name in units() if "\n[Install]\n" in (ROOT / "units" / name).read_text()}
    assert said["enable"] | said["disable"] == can_be
    assert said["disable"] == {"nanoclaw-hooks.socket"}


def test_fedoras_scriptlets_know_every_unit():
    spec = (ROOT / "packaging" / "rpm" / "nanoclawd.spec").read_text()
    listed = {
        kind: set(re.search(rf"^%global {kind} (.*)$", spec, re.MULTILINE)[1].split())
        for kind in ("sockets", "services")
    }
    assert listed["sockets"] == {name for name in units() if name.endswith(".socket")}
    assert listed["services"] == {name for name in units() if name.endswith(".service")}


def test_debians_scriptlets_know_every_unit():
    rules = (ROOT / "packaging" / "debian" / "rules").read_text()
    assert set(re.findall(r"\S+\.(?:socket|service)\b", rules.partition("override_dh_installsystemd:")[2])) == units()


def test_it_is_known_which_package_of_fedora_has_each_library():
    """Rpm asks for a library by its name on PyPI, whether Fedora has it or not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.match(r"[\w.-]+", entry)[0] for entry in project["dependencies"]}
    text = (ROOT / "packaging" / "rpm" / "libraries").read_text()
    known = {line.split()[0] for line in text.splitlines() if line and line[0] != "#"}
    assert known == wanted, "say in packaging/rpm/libraries which package of Fedora it is"


def test_both_packages_have_the_documents():
    """What README.md and config.yaml name is on the machine, and not only in the sources."""
    spec = (ROOT / "packaging" / "rpm" / "nanoclawd.spec").read_text()
    debian = (ROOT / "packaging" / "debian" / "nanoclawd.docs").read_text().split()
    assert debian == re.search(r"^%doc (.*)$", spec, re.MULTILINE)[1].split() == ["README.md", "docs"]
