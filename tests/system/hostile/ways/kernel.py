"""The kernel, its files and its devices."""

import contextlib
import ctypes
import fcntl
import os
import platform
import stat

from .words import NOT_THERE, REFUSED, Refused, Tried, calls, opened, syscall, way, written

# The kernel.

for name, arguments in (
    ("bpf", (0, ctypes.create_string_buffer(128), 128)),
    ("perf_event_open", (ctypes.create_string_buffer(128), 0, -1, -1, 0)),
    ("userfaultfd", (0,)),
    ("userfaultfd", (1,)),
    ("kexec_load", (0, 0, None, 0)),
    ("kexec_file_load", (-1, -1, 0, None, 0)),
    ("init_module", (b"x", 1, b"")),
    ("finit_module", (-1, b"", 0)),
    ("quotactl", (0x80000100, b"/dev/root", 0, None)),
    ("quotactl_fd", (3, 0x80000100, 0, None)),
    ("keyctl", (0, -5, 1)),
    ("add_key", (b"user", b"x", b"y", 1, -4)),
    ("request_key", (b"user", b"x", None, -4)),
    ("fanotify_init", (0, 0)),
    ("acct", (b"/workspace/acct",)),
    ("swapon", (b"/workspace/swap", 0)),
    ("reboot", (0xFEE1DEAD, 672274793, 0, None)),
    ("sethostname", (b"mine", 4)),
    ("settimeofday", (None, None)),
    ("clock_settime", (0, (ctypes.c_long * 2)(0, 0))),
    ("syslog", (3, ctypes.create_string_buffer(64), 64)),
):
    must = (*REFUSED, "EFAULT") if name == "settimeofday" else REFUSED
    way(f"the call {name}{'' if len(arguments) != 1 else arguments}", must, calls(name, *arguments))
way(
    "the call iopl",
    REFUSED,
    lambda: syscall("iopl", 3) if platform.machine() == "x86_64" else syscall("bpf", 0, None, 0),
)


def foreign_call() -> object:
    """A 32-bit program's socketcall: which socket it means, a filter can't see."""
    code = b"\xb8\x66\0\0\0\xcd\x80\xc3"  # mov eax, 102; int 0x80; ret
    import mmap

    with contextlib.closing(mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)) as page:
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        return f"answered {result}"


def killed(work: Tried) -> Tried:
    """It ends the process that tries it."""

    def tried() -> object:
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                work()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            raise Refused("KILLED")
        return "it went on"

    return tried


if platform.machine() == "x86_64":
    way("a call of another architecture", ("KILLED",), killed(foreign_call))
for path in (
    *("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname"),
    *(
        "/proc/sys/kernel/unprivileged_bpf_disabled",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/vm/overcommit_memory",
    ),
    *(
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/conf/all/route_localnet",
        "/proc/sys/fs/binfmt_misc/register",
    ),
    *("/proc/sys/fs/suid_dumpable", "/proc/sysrq-trigger", "/proc/sys/kernel/yama/ptrace_scope"),
    *("/proc/1/mem", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/1/uid_map", "/proc/irq/default_smp_affinity"),
    *("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.subtree_control", "/sys/fs/cgroup/memory.max"),
    *("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/release_agent", "/sys/kernel/uevent_helper", "/sys/power/state"),
    *("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/module/kernel/parameters/panic", "/sys/kernel/profiling"),
    *("/sys/class/net/lo/mtu", "/sys/devices/system/cpu/cpu0/online", "/sys/fs/selinux/enforce"),
):
    way(f"a write to {path}", (*NOT_THERE, "EINVAL", "EIO"), written(path))
for path in (
    *(
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/kmsg",
        "/proc/scsi/scsi",
        "/proc/acpi",
    ),
    *("/sys/firmware/dmi/tables/DMI", "/sys/kernel/debug", "/sys/kernel/security/lsm", "/proc/iomem/x"),
):

    def content(path: str = path) -> object:
        """Something to read; podman hides these behind nothing."""
        if os.path.isdir(path):
            text: object = os.listdir(path)
        else:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            text = os.read(file, 64)
        if not text:
            raise Refused("ENOENT")
        return text

    way(f"a read of {path}", NOT_THERE, content)
way("a cgroup of its own", NOT_THERE, lambda: os.mkdir("/sys/fs/cgroup/mine"))

# Devices.

for path in (
    *("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/fuse", "/dev/net/tun", "/dev/kvm", "/dev/vhost-net"),
    *("/dev/vhost-vsock", "/dev/vsock", "/dev/loop-control", "/dev/loop0", "/dev/sda", "/dev/vda", "/dev/nvme0n1"),
    *("/dev/mmcblk0", "/dev/mapper/control", "/dev/tpmrm0", "/dev/uinput", "/dev/input/event0", "/dev/dri/card0"),
    *("/dev/rtc0", "/dev/watchdog", "/dev/snapshot", "/dev/userfaultfd", "/dev/console", "/dev/tty1", "/dev/hidraw0"),
):
    way(f"the device {path}", NOT_THERE, opened(path, os.O_RDWR))
for name, device in (
    ("memory", (1, 1)),
    ("a disk", (8, 0)),
    ("FUSE", (10, 229)),
    ("a tunnel", (10, 200)),
    ("null", (1, 3)),
):
    for place in ("/tmp", "/workspace", "/session/out/files", "/home/agent"):
        kind = stat.S_IFBLK if name == "a disk" else stat.S_IFCHR
        way(
            f"a device file of {name} in {place}",
            REFUSED,
            lambda kind=kind, place=place, device=device: os.mknod(
                f"{place}/device", kind | 0o666, os.makedev(*device)
            ),
        )
way("a terminal", ("ENXIO", *NOT_THERE), opened("/dev/tty", os.O_RDWR))


def typed() -> object:
    """Words typed at somebody's terminal."""
    for number in range(3):
        with contextlib.suppress(OSError):
            return fcntl.ioctl(number, 0x5412, b"x")
    raise Refused("ENOTTY")


way("words typed at a terminal (TIOCSTI)", ("ENOTTY",), typed)
