"""``ncl doctor``."""

import argparse
from dataclasses import asdict
from typing import Any

from nanoclawd.cli import outcome, secrets, show
from nanoclawd.cli.client import CALL_SECONDS, Client, socket_path
from nanoclawd.cli.outcome import CommandError
from nanoclawd.doctor.finding import Finding, Severity
from nanoclawd.doctor.run import run_host_checks, run_trust_check

_SECONDS_WITHOUT_DAEMON = 5.0
_MARKS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}


def doctor(given: argparse.Namespace) -> int:
    """Print all findings; fail if any is an error."""
    findings = [asdict(finding) for finding in run_host_checks()]
    known = {finding["id"]: finding["severity"] for finding in findings}
    # systemd listens for a daemon that can't start, too: whoever asks it waits in vain.
    seconds = _SECONDS_WITHOUT_DAEMON if known.get("configuration") == Severity.ERROR else CALL_SECONDS
    findings += [one for one in _of_daemon(socket_path(given.socket), seconds) if one["id"] not in known]
    findings += [asdict(one) for one in _of_secrets(given)]
    if given.json:
        show.as_json(findings)
    else:
        for finding in findings:
            show.say(f"{_MARKS[finding['severity']]}  {finding['title']}: {finding['detail']}")
            if finding.get("fix") and finding["severity"] != Severity.OK:
                show.say(f"         Try: {finding['fix']}")
    failed = any(finding["severity"] == Severity.ERROR for finding in findings)
    return outcome.ERROR if failed else outcome.OK


def _of_daemon(path: str, seconds: float) -> list[dict[str, Any]]:
    """Return what the daemon finds, and whether it can be asked at all."""
    try:
        with Client(path, seconds) as client:
            findings: list[dict[str, Any]] = client.call("Appliance.Doctor")["findings"]
            images = client.call("Images.List")["images"]
    except CommandError as error:
        return [asdict(Finding("control-socket", Severity.ERROR, "Control socket", error.message, error.hint))]
    reached = Finding("control-socket", Severity.OK, "Control socket", f"nanoclawd answers at {path}")
    return [asdict(reached), *findings, *(asdict(_of_image(image)) for image in images)]


def _of_secrets(given: argparse.Namespace) -> list[Finding]:
    """Return what is the matter with secrets that are put into requests; nothing where there are none."""
    try:
        lacking = secrets.without_value(given)
    except CommandError:
        # That the daemon or the store does not answer is a finding of its own.
        return []
    if lacking is None:
        return []
    trust = run_trust_check()
    if not lacking:
        return [Finding("secrets", Severity.OK, "Secrets of agents", "all that are bound have a value"), trust]
    told = f"bound, and without a value: {', '.join(lacking)}"
    return [Finding("secrets", Severity.ERROR, "Secrets of agents", told, f"ncl secret rotate {lacking[0]}"), trust]


def _of_image(image: dict[str, Any]) -> Finding:
    name = str(image["name"])
    if image["state"] == "present":
        return Finding(f"image-{name}", Severity.OK, f"Image {name}", str(image["reference"]))
    severity = Severity.WARNING if image["state"] == "building" else Severity.ERROR
    detail = image.get("detail") or f"it is {image['state']}"
    return Finding(f"image-{name}", severity, f"Image {name}", str(detail), f"ncl images build {name}")
