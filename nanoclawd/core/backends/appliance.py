"""Behind io.nanoclaw.Appliance."""

import os
import time
from collections.abc import Sequence

from nanoclaw_runner.contract.clock import now_text
from nanoclawd import __version__
from nanoclawd.channels.keeper import ChannelState
from nanoclawd.control import values
from nanoclawd.core.appliance import Appliance
from nanoclawd.core.health import appliance_findings, channel_findings, components
from nanoclawd.doctor.finding import Finding, Severity
from nanoclawd.sessions.state import Phase
from nanoclawd.store import host_messages
from nanoclawd.store import sessions as session_rows


class ApplianceBackend:
    """Status and doctor."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._started = time.monotonic()
        self._started_at = now_text()

    async def status(self) -> values.ApplianceStatus:
        """Return how the appliance is."""
        appliance, admission = self._appliance, self._appliance.admission
        limits = appliance.config.limits
        busy = [
            values.BusySession(
                id=actor.ref.id,
                group=actor.ref.group,
                state=values.SessionState(actor.snapshot.phase.value),
                since=actor.snapshot.since,
                status=actor.snapshot.status or None,
                reason=actor.snapshot.reason or None,
                place=actor.snapshot.place,
            )
            for actor in appliance.sessions.actors
            if actor.snapshot.phase is not Phase.ASLEEP
        ]
        counts = await appliance.database.run(session_rows.count)
        findings = await appliance_findings(appliance)
        return values.ApplianceStatus(
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            uptime=time.monotonic() - self._started,
            groups=await appliance.group_count(),
            sessions=counts,
            busy=busy,
            limits=values.Limits(
                max_awake=admission.slots,
                awake=admission.awake,
                waiting=len(admission.waiting()),
                memory_budget=limits.memory_budget,
                memory_used=admission.awake * limits.session_memory,
                min_free_disk=limits.min_free_disk,
                free_disk=admission.free_disk(),
            ),
            components=[*await components(appliance), *await _channels(appliance)],
            problems=[finding for finding in findings if finding.severity is not Severity.OK],
        )

    async def doctor(self) -> Sequence[Finding]:
        """Run the daemon's own checks."""
        return [*await appliance_findings(self._appliance), *channel_findings(self._appliance)]


async def _channels(appliance: Appliance) -> list[values.Component]:
    """Return the channels as parts of the appliance: one that is down must be seen without being asked for."""
    outbox = await appliance.database.run(host_messages.open_by_channel)
    waiting = appliance.sessions.waiting_by_channel()
    return [
        values.Component(
            f"channel {state.name}",
            values.ComponentState(state.health.state.value),
            "; ".join(_words(state, outbox.get(state.name, 0) + waiting[state.name])),
            state.health.hint,
        )
        for state in appliance.channels.states()
    ]


def _words(state: ChannelState, backlog: int) -> list[str]:
    """Return what there is to say of a channel: nothing, where all is well."""
    found = [state.health.detail] if state.health.detail else []
    if backlog:
        found.append(f"{backlog} to be delivered")
    if state.set_aside:
        found.append(f"{state.set_aside} set aside (ncl channels show {state.name})")
    return found
