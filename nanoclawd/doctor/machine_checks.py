"""The checks of the machine: cgroups, journal, SELinux, disk, the gateway's socket."""

import shutil
import stat

from nanoclawd.doctor.checks import Check
from nanoclawd.doctor.finding import Finding
from nanoclawd.doctor.places import Host

_NEEDED_CONTROLLERS = frozenset({"memory", "pids"})
_LITTLE_DISK = 2 * 1024**3
_NO_DISK = 500 * 1024**2
_STATE_ROOT = "/var/lib/nanoclaw"
_GATEWAY_SOCKET = "/run/nanoclaw-gateway/gateway.sock"
_TRUST_BUNDLE = "/run/nanoclaw-gateway/trust/bundle.pem"
_CREDENTIALS_SOCKET = "/run/nanoclawd/credentials.sock"
_PI_COMMAND_LINE = "/boot/firmware/cmdline.txt"
_DELEGATION = "/etc/systemd/system/user@.service.d"
_SELINUX_MODULE = "nanoclawd"
_UNIT = "nanoclawd.service"
_EXIT_CONFIG = "78"
"""sysexits.h: how the daemon ends for a fault in its configuration, which it leaves in its unit's status."""


class Cgroups(Check):
    """Limits of a session's memory and processes need their controllers; Raspberry Pi OS boots with memory off."""

    id = "cgroups"
    title = "Cgroup controllers"

    def run(self) -> Finding:
        """Compare what the kernel offers, and what is handed to the user manager, with what is needed."""
        offered = self.host.text("/sys/fs/cgroup/cgroup.controllers")
        if offered is None:
            return self.error("cgroups v2 are not mounted: the kernel was booted with the old hierarchy")
        lacking = _NEEDED_CONTROLLERS - set(offered.split())
        if lacking:
            on_pi = self.host.path(_PI_COMMAND_LINE).exists()
            return self.warn(
                f"the kernel runs without {' and '.join(sorted(lacking))}: sessions are not limited there",
                f"sudo sed -i 's/$/ cgroup_enable=memory/' {_PI_COMMAND_LINE} && sudo reboot" if on_pi else None,
            )
        uid = self.host.uid()
        delegated = self.host.text(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers")
        if delegated is None:
            return self.ok("memory and pids are there; the user manager is not running")
        lacking = _NEEDED_CONTROLLERS - set(delegated.split())
        if lacking:
            return self.warn(
                f"{' and '.join(sorted(lacking))} not delegated to the user manager: sessions are not limited there",
                f"sudo mkdir -p {_DELEGATION} && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | "
                f"sudo tee {_DELEGATION}/90-nanoclaw.conf && sudo systemctl daemon-reload && "
                f"sudo systemctl restart user@{uid}.service",
            )
        return self.ok("memory and pids are delegated to the user manager")


class Journal(Check):
    """A volatile journal forgets at each boot why something failed; Raspberry Pi OS has one."""

    id = "journal"
    title = "Journal"

    def run(self) -> Finding:
        """Look for this machine's directory of journal files on disk."""
        machine = (self.host.text("/etc/machine-id") or "").strip()
        if machine and self.host.path(f"/var/log/journal/{machine}").is_dir():
            return self.ok("kept over reboots")
        return self.warn(
            "kept in memory only: logs are gone after a reboot",
            "sudo mkdir -p /etc/systemd/journald.conf.d && printf '[Journal]\\nStorage=persistent\\n' | "
            "sudo tee /etc/systemd/journald.conf.d/90-nanoclaw.conf && sudo systemctl restart systemd-journald",
        )


class Selinux(Check):
    """SELinux refuses a container's use of a host's unix socket without our policy module."""

    id = "selinux"
    title = "SELinux"

    def run(self) -> Finding:
        """Look whether it enforces, and for the module."""
        if (self.host.text("/sys/fs/selinux/enforce") or "0").strip() != "1":
            return self.ok("not enforcing on this machine")
        store = self.host.path("/var/lib/selinux")
        try:
            installed = any(store.glob(f"*/active/modules/*/{_SELINUX_MODULE}"))
        except OSError:
            installed = False
        if installed:
            return self.ok(f"enforcing, module {_SELINUX_MODULE} is installed")
        return self.warn(
            f"enforcing, and the module {_SELINUX_MODULE} is not seen (only root sees them all)",
            f"sudo semodule -l | grep {_SELINUX_MODULE} || "
            f"sudo semodule -X 200 -i /usr/share/selinux/packages/targeted/{_SELINUX_MODULE}.pp.bz2",
        )


class Disk(Check):
    """Nothing is accepted that cannot be stored."""

    id = "disk"
    title = "Disk"

    def run(self) -> Finding:
        """Measure what is free where the state lies."""
        try:
            free = shutil.disk_usage(self.host.path(_STATE_ROOT)).free
        except OSError as error:
            return self.error(f"{_STATE_ROOT}: {error.strerror}", "sudo /usr/libexec/nanoclawd/host-setup install")
        detail = f"{free / 1024**3:.1f} GiB free for {_STATE_ROOT}"
        if free < _NO_DISK:
            return self.error(detail, f"df -h {_STATE_ROOT}")
        if free < _LITTLE_DISK:
            return self.warn(detail, f"df -h {_STATE_ROOT}")
        return self.ok(detail)


class Gateway(Check):
    """The gateway's socket is the agents' only way out."""

    id = "gateway-socket"
    title = "Gateway"

    def run(self) -> Finding:
        """Look for the socket; who may connect is no matter here."""
        if _is_socket(self.host, _GATEWAY_SOCKET):
            return self.ok(f"listens at {_GATEWAY_SOCKET}")
        return self.error(f"{_GATEWAY_SOCKET} is missing", "sudo systemctl start nanoclaw-gateway.socket")


class Trust(Check):
    """What agents' programs have to trust, so that the gateway can put secrets into their requests; it makes it."""

    id = "gateway-trust"
    title = "Gateway's certificates"

    def run(self) -> Finding:
        """Look for the bundle, which containers see."""
        try:
            size = self.host.path(_TRUST_BUNDLE).stat().st_size
        except OSError:
            size = 0
        if size:
            return self.ok(f"are at {_TRUST_BUNDLE}")
        return self.error(
            f"{_TRUST_BUNDLE} is missing: no secret can be put into requests", "sudo systemctl restart nanoclaw-gateway"
        )


class Secrets(Check):
    """Without the service behind it no key and no chat account can be stored; those that are, are used all the same."""

    id = "credentials-socket"
    title = "Secrets"

    def run(self) -> Finding:
        """Look for the socket, and for what binds the secrets to this machine."""
        if not _is_socket(self.host, _CREDENTIALS_SOCKET):
            return self.warn(f"{_CREDENTIALS_SOCKET} is missing", "sudo systemctl start nanoclaw-credentials.socket")
        if self.host.path("/dev/tpmrm0").exists():
            return self.ok("are encrypted, and bound to this machine's TPM")
        return self.ok("are encrypted, with a key on this disk: that protects backups, not a stolen card or disk")


def _is_socket(host: Host, path: str) -> bool:
    try:
        return stat.S_ISSOCK(host.path(path).stat().st_mode)
    except OSError:
        return False


class Configuration(Check):
    """With a fault in its configuration the daemon ends, and is started again until that is mended."""

    id = "configuration"
    title = "Configuration"
    runs_program = True

    def run(self) -> Finding:
        """Ask systemd how the daemon has ended, and what it said."""
        names = ("ActiveState", "ExecMainStatus", "StatusText")
        said = self.host.ask("systemctl", "show", _UNIT, f"--property={','.join(names)}") or ""
        known = dict(line.partition("=")[::2] for line in said.splitlines())
        if known.get("ExecMainStatus") != _EXIT_CONFIG or known.get("ActiveState") == "active":
            return self.ok("no fault is known")
        return self.error(known.get("StatusText") or "nanoclawd can't use it", f"journalctl -u {_UNIT} -n 20")
