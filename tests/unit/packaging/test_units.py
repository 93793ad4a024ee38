"""What both packages do with units is said in few places; a new unit must be in all of them (F-205)."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def units() -> set[str]:
    return {path.name for kind in ("service", "socket") for path in (ROOT / "units").glob(f"*.{kind}")}


def test_units_that_can_be_enabled_are_so_by_default():
    preset = set(re.findall(r"^enable (\S+)$", (ROOT / "units" / "nanoclawd.preset").read_text(), re.MULTILINE))
    assert preset == {name for name in units() if "\n[Install]\n" in (ROOT / "units" / name).read_text()}


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
