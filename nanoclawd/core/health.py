"""What only the daemon can see of the appliance's health."""

from typing import Final

import apsw

from nanoclawd.channels.adapter import HealthState
from nanoclawd.channels.keeper import ChannelState
from nanoclawd.config import Config
from nanoclawd.control.values import Component, ComponentState
from nanoclawd.core.appliance import Appliance
from nanoclawd.doctor.finding import Finding, Severity
from nanoclawd.egress.outside import Outside
from nanoclawd.errors import NanoclawError
from nanoclawd.hooks.listening import ENABLE
from nanoclawd.paths import GATEWAY_DIRECTORY
from nanoclawd.store import approvals, hooks, roles
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.troubles import Trouble

_NEXT: Final = {
    "mcp": "ncl mcp list --group {group}",
    "configuration": "ncl groups get {group}",
    "image": "ncl groups restart {group} --rebuild",
}
"""What to look at about a trouble, by its kind."""


async def components(appliance: Appliance) -> list[Component]:
    """Return the parts beside the daemon."""
    gateway = (GATEWAY_DIRECTORY / "gateway.sock").exists()
    try:
        model = await appliance.manager.state("nanoclaw-model.service")
        socket = await appliance.manager.state("nanoclaw-model.socket")
        manager = Component("user-manager", ComponentState.OK, "answers on its bus")
    except NanoclawError as error:
        return [Component("user-manager", ComponentState.FAILED, error.message, error.hint)]
    if model.active == "active":
        model_state = Component("model", ComponentState.OK, "the embedded model is loaded")
    elif model.active == "failed" or socket.active == "failed":
        model_state = Component(
            "model",
            ComponentState.FAILED,
            f"failed: {model.result}",
            "systemctl --user -M nanoclaw@ status nanoclaw-model",
        )
    elif model.active == "activating":
        model_state = Component("model", ComponentState.STARTING, "is being loaded")
    else:
        model_state = Component("model", ComponentState.IDLE, "starts when it is asked")
    return [
        *_outside(appliance),
        Component("gateway", ComponentState.OK, "listens")
        if gateway
        else Component(
            "gateway", ComponentState.MISSING, "its socket is not there", "systemctl start nanoclaw-gateway.socket"
        ),
        model_state,
        manager,
    ]


def _outside(appliance: Appliance) -> list[Component]:
    """Return the gateway outside, where the configuration names one."""
    if appliance.outside is None:
        return []
    state = appliance.outside.state
    if state.state == "ready":
        return [Component("onecli", ComponentState.OK, "carries what agents may reach")]
    kind = ComponentState.STARTING if state.state == "starting" else ComponentState.FAILED
    return [Component("onecli", kind, f"{state.reason}; messages to agents that may go out are held", state.fix)]


def outside_findings(state: Outside) -> list[Finding]:
    """Say how it stands with OneCLI, and what is to do there."""
    if state.state == "ready":
        found = [Finding("onecli", Severity.OK, "OneCLI", "carries what agents may reach")]
    else:
        severity = Severity.WARNING if state.state == "starting" else Severity.ERROR
        words = f"{state.reason}. Messages to agents that may go out are held, and go on by themselves"
        found = [Finding("onecli", severity, "OneCLI", words, state.fix or "journalctl -u nanoclaw-gateway -n 50")]
    return found + [
        Finding(f"onecli-{note.group}", Severity.WARNING, f"OneCLI: agent {note.group}", note.message, note.fix)
        for note in state.notes
    ]


async def appliance_findings(appliance: Appliance) -> list[Finding]:
    """Run the daemon's checks. Cheap: no process is started."""
    return [
        _disk(appliance),
        await _quarantine(appliance),
        await _agents(appliance),
        *await appliance.database.run(people_findings),
        *await _hooks(appliance),
        *(outside_findings(appliance.outside.state) if appliance.outside is not None else []),
        *[trouble_finding(one, appliance.config) for one in await appliance.usage.troubles()],
    ]


def trouble_finding(trouble: Trouble, config: Config) -> Finding:
    """Say what troubles an agent, and what to look at or do."""
    about = f" ({trouble.subject})" if trouble.subject else ""
    often = f"; {trouble.count} times since {trouble.first_at}" if trouble.count > 1 else ""
    return Finding(
        f"trouble-{trouble.group}-{trouble.kind}" + (f"-{trouble.subject}" if trouble.subject else ""),
        Severity.ERROR if trouble.kind == "credentials" else Severity.WARNING,
        f"Agent {trouble.group}: {trouble.kind}{about}",
        f"{_without_commands(trouble.message)}{often}",
        _next(trouble, config),
    )


def _without_commands(message: str) -> str:
    """Return what a person in a chat was told without what to type: a finding has that of its own."""
    return message.partition(" The operator can run: ")[0].partition("; run: ")[0].removesuffix(".")


def _next(trouble: Trouble, config: Config) -> str:
    """Return what to type about a trouble; where nothing else is known the gateway's journal says most."""
    endpoint = config.endpoints.get(trouble.subject) if trouble.kind == "credentials" else None
    if endpoint is not None and endpoint.credential is not None:
        return f"ncl credentials put nanoclaw-gateway.{endpoint.credential}"
    return _NEXT.get(trouble.kind, "journalctl -u nanoclaw-gateway -n 50").format(group=trouble.group)


def channel_findings(appliance: Appliance) -> list[Finding]:
    """Say which channels reach nobody; apart, because a status lists them all anyhow."""
    states = appliance.channels.states()
    aside = [_set_aside(one) for one in states if one.set_aside]
    down = [one for one in states if one.health.state in {HealthState.FAILED, HealthState.DEGRADED}]
    if not down:
        names = [f"{one.name} (disabled)" if one.health.state is HealthState.DISABLED else one.name for one in states]
        return [Finding("channels", Severity.OK, "Channels", ", ".join(names)), *aside]
    return aside + [
        Finding(
            f"channel-{one.name}",
            Severity.ERROR if one.health.state is HealthState.FAILED else Severity.WARNING,
            f"Channel {one.name}",
            f"{one.health.state}: {one.health.detail}" + (f"; next try at {one.next_try}" if one.next_try else ""),
            one.health.hint or f"ncl channels logs {one.name}",
        )
        for one in down
    ]


def _set_aside(state: ChannelState) -> Finding:
    return Finding(
        f"channel-{state.name}-set-aside",
        Severity.WARNING,
        f"Channel {state.name}: events",
        f"{state.set_aside} could not be handled and {'was' if state.set_aside == 1 else 'were'} set aside",
        f"ncl channels show {state.name}",
    )


def _disk(appliance: Appliance) -> Finding:
    free, bound = appliance.admission.free_disk(), appliance.config.limits.min_free_disk
    if free >= bound:
        return Finding("disk", Severity.OK, "Free disk", f"{free >> 20} MiB are free")
    return Finding(
        "disk",
        Severity.ERROR,
        "Free disk",
        f"{free >> 20} MiB are free; below {bound >> 20} MiB no message is accepted",
        f"df -h {appliance.paths.root}",
    )


async def _hooks(appliance: Appliance) -> list[Finding]:
    """Say whether hooks can be reached, where there are any."""
    if not await appliance.database.run(hooks.listed, None, 1):
        return []
    where = await appliance.hooks.listening()
    if where.active:
        return [Finding("hooks", Severity.OK, "Hooks", f"programs reach them at {where.base}")]
    return [Finding("hooks", Severity.WARNING, "Hooks", "there are hooks, and nothing listens for them", ENABLE)]


async def _agents(appliance: Appliance) -> Finding:
    count = await appliance.group_count()
    if count:
        return Finding("agents", Severity.OK, "Agents", str(count))
    return Finding("agents", Severity.WARNING, "Agents", "there is none yet", "ncl setup")


def people_findings(connection: apsw.Connection) -> list[Finding]:
    """Say whether there is somebody to ask, and what has reached nobody."""
    found = [Finding("owner", Severity.OK, "Owner", "there is one")]
    if not roles.has_owner(connection):
        found = [
            Finding(
                "owner",
                Severity.WARNING,
                "Owner",
                "nobody owns the appliance yet, so nobody is asked about strangers and new chats",
                "ncl roles claim",
            )
        ]
    unreached = approvals.unreached(connection)
    if not unreached:
        return [*found, Finding("approvals", Severity.OK, "Approvals", "nothing waits that nobody was asked about")]
    many = len(unreached) > 1
    detail = f"{len(unreached)} {'wait' if many else 'waits'}, and {'their cards have' if many else 'its card has'}"
    fix = "ncl approvals" if many else f"ncl approvals get {unreached[0]}"
    return [*found, Finding("approvals", Severity.WARNING, "Approvals", f"{detail} reached nobody yet", fix)]


async def _quarantine(appliance: Appliance) -> Finding:
    ids = await appliance.database.run(session_rows.quarantined)
    if not ids:
        return Finding("quarantine", Severity.OK, "Quarantine", "no session is in quarantine")
    return Finding(
        "quarantine", Severity.WARNING, "Quarantine", f"in quarantine: {', '.join(ids)}", f"ncl sessions reset {ids[0]}"
    )
