"""Secrets that the gateway puts into requests at the door: which there are, where they go, and in whose requests.

The daemon publishes what an operator has bound (:class:`Secret`); the value is in a credential that only the gateway
can read (:class:`Sealed`), together with the hosts that it was entered for. A request gets a secret only where both
agree, so nobody who writes the published file can have a secret sent anywhere else.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal

import msgspec

from nanoclawd.egress.rules import fits_host
from nanoclawd.egress.targets import Target, path_readings

CREDENTIAL_PREFIX: Final = "nanoclaw-gateway.secret-"
"""Before a secret's name in the credential store."""

PLACEHOLDER_PREFIX: Final = "nanoclaw-secret-"
"""Before a secret's name in what an agent may know of it."""

MAX_NAME_CHARACTERS: Final = 40

type Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")]
type Style = Literal["bearer", "basic", "header", "query", "cookie", "placeholder"]
type Scheme = Literal["https", "http"]


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret goes.

    Attributes:
        host: an exact host in its one form, or ``*.`` before a name; never ``*``.
        port: exactly this one.
        path: prefix of the path; empty: every one.
        scheme: http only where an operator said so, for a machine of the own network.
    """

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 443
    path: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    scheme: Scheme = "https"

    def fits(self, scheme: Scheme, target: Target) -> bool:
        """Tell whether a host is meant, whatever the path."""
        return self.scheme == scheme and self.port == target.port and fits_host(self.host, target.host)

    def fits_path(self, path: str) -> bool:
        """Tell whether a path is meant; one that could be read in two ways is not, unless every path is."""
        if not self.path:
            return True
        readings = path_readings(path)
        return bool(readings) and all(one.startswith(self.path) for one in readings)


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret as the daemon publishes it.

    Attributes:
        places: where it goes.
        groups: agent groups' folders; None: all groups.
        style: how it is put in: ``Authorization: Bearer``, ``Authorization: Basic``, a header, a query parameter, a
            cookie, or only where the agent has written its placeholder (in a header's value, or in the query).
        parameter: the header's, parameter's or cookie's name; of basic: the user's name.
    """

    name: Name
    places: Annotated[tuple[Place, ...], msgspec.Meta(min_length=1, max_length=20)]
    groups: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] | None = None
    style: Style = "bearer"
    parameter: Annotated[str, msgspec.Meta(max_length=200)] = ""

    def is_for(self, group: str) -> bool:
        """Tell whether a group's requests may have it."""
        return self.groups is None or group in self.groups


class OAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an access token is got for a refresh token (RFC 6749, 6): asked for at the door, kept there until it ends."""

    token_url: Annotated[str, msgspec.Meta(pattern=r"\Ahttps://", max_length=1000)]
    client_id: Annotated[str, msgspec.Meta(max_length=500)]
    client_secret: Annotated[str, msgspec.Meta(max_length=4000)] = ""
    scope: Annotated[str, msgspec.Meta(max_length=1000)] = ""

    def __repr__(self) -> str:
        """Show no secret, whatever logs this."""
        return f"OAuth({self.token_url!r})"


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a secret's credential, as JSON.

    Attributes:
        value: the secret itself, or with ``oauth`` the refresh token.
        places: where it may go, as whoever entered it said.
    """

    value: Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]
    places: Annotated[tuple[Place, ...], msgspec.Meta(min_length=1, max_length=20)]
    oauth: OAuth | None = None

    def __repr__(self) -> str:
        """Show no secret, whatever logs this."""
        return f"Sealed({self.places!r})"


def placeholder(name: str) -> str:
    """Return what stands for a secret inside a container."""
    return PLACEHOLDER_PREFIX + name


def for_host(secrets: Iterable[Secret], group: str, scheme: Scheme, target: Target) -> Iterator[Secret]:
    """Yield the secrets that a group's requests to a host can have, whatever the path."""
    for secret in secrets:
        if secret.is_for(group) and any(place.fits(scheme, target) for place in secret.places):
            yield secret
