"""Every range of the IANA registries of special-purpose addresses, and what surrounds it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.egress.addresses import special

# iana-ipv4-special-registry, iana-ipv4-multicast, and Azure's one.
V4 = [
    *("0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32"),
    *("192.0.0.171/32", "192.0.2.0/24", "192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32", "168.63.129.16/32"),
]
# iana-ipv6-special-registry, multicast, and what was given back.
V6 = [
    *("::1/128", "::/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64"),
    *("2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32"),
    *("2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "3fff::/20"),
    *(
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
        "::/96",
        "::ffff:0:0:0/96",
        "4000::/3",
        "e000::/4",
    ),
]
REACHABLE = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0"),
    *("192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0"),
    *("198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "168.63.129.15"),
    *("2001:200::1", "2001:4860:4860::8888", "2003::1", "2400::1", "2606:4700:4700::1111", "2a00::1", "3ffe:ffff::1"),
]


@pytest.mark.parametrize("network", V4 + V6)
def test_no_address_of_a_special_range_is_reached(network: str):
    found = ipaddress.ip_network(network)
    for address in (found[0], found[-1], found[found.num_addresses // 2]):
        assert special(str(address)), address


@pytest.mark.parametrize("address", REACHABLE)
def test_the_internet_is_reached(address: str):
    assert special(address) is None


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fe80::a9fe:a9fe"),
        *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fe80::1%1"),
    ],
)
def test_metadata_addresses_are_not_reached_in_any_form(address: str):
    assert special(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_disguise_is_never_reached(address: ipaddress.IPv4Address):
    number = int(address)
    for base in (0, 0xFFFF << 32, 0x64FF9B << 96, 0x64FF9B0001 << 80):
        assert special(str(ipaddress.IPv6Address(base | number)))
    assert special(str(ipaddress.IPv6Address(0x2002 << 112 | number << 80)))


@given(st.ip_addresses())
def test_what_is_reached_is_global_and_nothing_else(address: ipaddress.IPv4Address | ipaddress.IPv6Address):
    if special(str(address)) is None:
        assert address.is_global
        others = ("multicast", "private", "loopback", "link_local", "reserved", "unspecified")
        assert not any(getattr(address, f"is_{name}") for name in others)
