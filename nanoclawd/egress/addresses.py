"""Which addresses are on the internet. All others are somebody's own network, this machine, or lead to either.

After the IANA registries of special-purpose addresses; of IPv6 only what is given out to anybody (2000::/3) is taken.
"""

import ipaddress
from typing import Final

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_V4: Final = tuple(
    (ipaddress.IPv4Network(network), words)
    for network, words in (
        ("0.0.0.0/8", "no address of a host"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a provider's inner address"),
        ("127.0.0.0/8", "the machine itself"),
        # A public address in form, which in one big cloud is every machine's own manager.
        ("168.63.129.16/32", "a cloud's metadata address"),
        ("169.254.0.0/16", "a link-local or metadata address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a protocol's address"),
        ("192.0.2.0/24", "an address of examples"),
        ("192.88.99.0/24", "an address that leads into another network"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "an address of test networks"),
        ("198.51.100.0/24", "an address of examples"),
        ("203.0.113.0/24", "an address of examples"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)
_GIVEN_OUT: Final = ipaddress.IPv6Network("2000::/3")
_V6: Final = tuple(
    (ipaddress.IPv6Network(network), words)
    for network, words in (
        ("::/128", "no address of a host"),
        ("::1/128", "the machine itself"),
        ("::ffff:0:0/96", "an IPv4 address in disguise"),
        ("::/96", "an IPv4 address in disguise"),
        ("64:ff9b::/96", "an IPv4 address in disguise"),
        ("64:ff9b:1::/48", "an IPv4 address in disguise"),
        ("100::/64", "an address that leads nowhere"),
        ("2001::/23", "a protocol's address"),
        ("2001:db8::/32", "an address of examples"),
        ("2002::/16", "an IPv4 address in disguise"),
        ("3fff::/20", "an address of examples"),
        ("5f00::/16", "a router's address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local or metadata address"),
        ("fec0::/10", "a private address"),
        ("ff00::/8", "a multicast address"),
    )
)


def special(text: str) -> str | None:
    """Return what is special about an address, None of one on the internet.

    Args:
        text: as the system's resolver writes it; a zone behind ``%`` makes it special.

    Raises:
        ValueError: it is no address.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        for network, words in _V4:
            if address in network:
                return words
    else:
        if address.scope_id is not None:
            return "a link-local or metadata address"
        for other, words in _V6:
            if address in other:
                return words
        if address not in _GIVEN_OUT:
            return "a reserved address"
    # What a newer registry than this list's has.
    return None if address.is_global else "a reserved address"
