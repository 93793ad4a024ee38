"""The network: there is a loopback of its own, and nothing else."""

import ctypes
import socket
import struct

from .words import GIVEN, NO_SUCH_SOCKET, NOBODY, REFUSED, SECONDS, Tried, stream, syscall, way

for family, name in (
    *((3, "AX.25"), (4, "IPX"), (5, "AppleTalk"), (8, "ATM"), (9, "X.25"), (15, "key management (PF_KEY)")),
    *((17, "packets"), (21, "RDS"), (24, "PPPoX"), (26, "LLC"), (27, "InfiniBand"), (28, "MPLS"), (29, "CAN")),
    *(
        (30, "TIPC"),
        (31, "Bluetooth"),
        (33, "RxRPC"),
        (34, "IUCV"),
        (35, "phonet"),
        (36, "IEEE 802.15.4"),
        (37, "CAIF"),
    ),
    *((38, "the kernel's crypto (AF_ALG)"), (39, "NFC"), (40, "the hypervisor (vsock)"), (41, "KCM"), (42, "QIPCRTR")),
    *((43, "SMC"), (44, "XDP"), (45, "MCTP")),
):
    way(f"a socket of {name}", NO_SUCH_SOCKET, lambda family=family: socket.socket(family, socket.SOCK_DGRAM).fileno())
    way(
        f"a raw socket of {name}", NO_SUCH_SOCKET, lambda family=family: socket.socket(family, socket.SOCK_RAW).fileno()
    )
for number, name in (
    *((2, "its own"), (4, "socket diagnosis"), (6, "IPsec"), (9, "audit"), (10, "routes of 2.4"), (11, "a connector")),
    *((12, "the packet filter"), (15, "devices' events"), (16, "generic"), (18, "SCSI"), (20, "RDMA"), (21, "crypto")),
):
    way(
        f"netlink: {name}",
        NO_SUCH_SOCKET,
        lambda number=number: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, number).fileno(),
    )


def netlink(kind: int, body: bytes) -> Tried:
    """Ask for a change of the network."""

    def tried() -> object:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as one:
            one.settimeout(SECONDS)
            one.bind((0, 0))
            one.send(struct.pack("IHHII", 16 + len(body), kind, 0x605, 1, 0) + body)
            (number,) = struct.unpack_from("i", one.recv(4096), 16)
            if number:
                raise OSError(-number, "netlink")
            return "done"

    return tried


_attribute = struct.pack
way(
    "netlink: an address for the loopback",
    REFUSED,
    netlink(20, struct.pack("BBBBI", 2, 8, 0, 0, 1) + _attribute("HH4s", 8, 2, bytes([10, 0, 0, 1]))),
)
way(
    "netlink: a route to everywhere",
    REFUSED,
    netlink(24, struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 3, 253, 1, 0) + _attribute("HHI", 8, 4, 1)),
)
way(
    "netlink: a network device",
    REFUSED,
    netlink(
        16, struct.pack("BxHiII", 0, 0, 0, 0, 0) + _attribute("HH", 16, 18) + _attribute("HH6sxx", 10, 1, b"dummy\0")
    ),
)
way("netlink: the loopback down", REFUSED, netlink(16, struct.pack("BxHiII", 0, 0, 1, 0, 1)))
for kind, name in ((socket.IPPROTO_ICMP, "ICMP"), (socket.IPPROTO_TCP, "TCP"), (socket.IPPROTO_RAW, "any protocol")):
    way(f"raw IPv4: {name}", REFUSED, lambda kind=kind: socket.socket(socket.AF_INET, socket.SOCK_RAW, kind).fileno())
way(
    "raw IPv6",
    REFUSED,
    lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6).fileno(),
)
way("old packet sockets", (*REFUSED, "ESOCKTNOSUPPORT", "EINVAL"), lambda: socket.socket(socket.AF_INET, 10).fileno())
way(
    "a device by its name",
    (*REFUSED, "ENODEV"),
    lambda: socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0"),
)
way(
    "a marked packet",
    REFUSED,
    lambda: socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1),
)
way(
    "somebody else's address (transparent proxying)",
    REFUSED,
    lambda: socket.socket().setsockopt(socket.IPPROTO_IP, 19, 1),
)
for address in (
    *("10.0.2.2", "10.0.2.3", "10.88.0.1", "169.254.169.254", "169.254.1.1", "172.17.0.1", "192.168.1.1", "8.8.8.8"),
    *("100.100.100.200", "168.63.129.16"),
):
    way(f"TCP to {address}", NOBODY, stream(socket.AF_INET, (address, 80)))
way("TCP to a server of the machine", NOBODY, stream(socket.AF_INET, lambda: ("127.0.0.1", GIVEN["port"])))
way("TCP to it by IPv6", NOBODY, stream(socket.AF_INET6, lambda: ("::ffff:127.0.0.1", GIVEN["port"])))
way("TCP to a server of another container", NOBODY, stream(socket.AF_INET, lambda: ("127.0.0.1", GIVEN["other_port"])))
way("TCP to an IPv6 metadata address", NOBODY, stream(socket.AF_INET6, ("fd00:ec2::254", 80)))


def multipath() -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as one:  # MPTCP
        one.settimeout(SECONDS)
        one.connect(("8.8.8.8", 443))
        return "connected"


def fast_open() -> object:
    with socket.socket() as one:
        one.settimeout(SECONDS)
        return one.sendto(b"hello", 0x20000000, ("8.8.8.8", 443))


way("TCP by several paths", NOBODY, multipath)
way("TCP with words in its first packet", NOBODY, fast_open)
way(
    "SCTP",
    (*NOBODY, "EPROTONOSUPPORT"),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).connect(("8.8.8.8", 80)),
)
for address, port in (("127.0.0.53", 53), ("8.8.8.8", 53), ("224.0.0.251", 5353), ("255.255.255.255", 67)):

    def question(address: str = address, port: int = port) -> object:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(SECONDS)
            one.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1", (address, port))
            return one.recv(512)

    way(f"DNS to {address}", NOBODY, question)
way("DNS by the system", ("NONAME",), lambda: socket.getaddrinfo("example.org", 443))
way(
    "io_uring, and any call through it",
    ("ENOSYS",),
    lambda: syscall("io_uring_setup", 8, ctypes.create_string_buffer(256)),
)
