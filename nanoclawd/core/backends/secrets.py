"""Behind io.nanoclaw.Secrets."""

from collections.abc import Sequence

from nanoclawd.agents.secrets import Known, SecretBindings, SecretWish
from nanoclawd.control.values import Caller, ClosedHost, Peer, SecretBinding, SecretSettings, SecretTrial
from nanoclawd.egress.secret_wishes import place_text, style_text
from nanoclawd.egress.secrets import placeholder
from nanoclawd.store.secrets import Exchange


class SecretsBackend:
    """Bindings as operators and agents see them."""

    def __init__(self, bindings: SecretBindings) -> None:
        self._bindings = bindings

    async def list(self, caller: Caller, group: str | None, limit: int) -> Sequence[SecretBinding]:
        """Return the bindings of a group with those of all groups, or all; to an agent what it needs to use them."""
        found = (await self._bindings.listed(group))[:limit]
        if isinstance(caller, Peer):
            return [_view(one) for one in found]
        return [_told(one, group) for one in found]

    async def get(self, name: str) -> SecretBinding:
        """Return one binding."""
        return _view(await self._bindings.get(name))

    async def check(self, settings: SecretSettings) -> tuple[SecretBinding, bool]:
        """Return what :meth:`bind` would, without effect."""
        found, replaced = await self._bindings.check(_wish(settings))
        return _view(found), replaced

    async def bind(self, caller: Caller, settings: SecretSettings) -> tuple[SecretBinding, bool]:
        """Write a binding; return it, and whether it took the place of one."""
        found, replaced = await self._bindings.bind(_wish(settings), caller.user_id)
        return _view(found), replaced

    async def renewed(self, caller: Caller, name: str) -> SecretBinding:
        """Note that a secret has another value."""
        return _view(await self._bindings.renewed(name, caller.user_id))

    async def remove(self, caller: Caller, name: str) -> SecretBinding:
        """Take a binding away and return it."""
        return _view(await self._bindings.remove(name, caller.user_id))

    async def test(self, name: str, url: str | None, group: str | None) -> Sequence[SecretTrial]:
        """Say what would become of requests."""
        return [
            SecretTrial(one.group, one.url, one.fits, one.allowed, one.asks, one.reason, one.allow or None)
            for one in await self._bindings.try_out(name, url, group)
        ]


def _wish(settings: SecretSettings) -> SecretWish:
    exchange = None
    if settings.token_url is not None:
        exchange = Exchange(settings.token_url, settings.client_id or "", settings.scope or "", settings.client_secret)
    return SecretWish(settings.name, settings.hosts, settings.groups, settings.style, exchange)


def _view(known: Known) -> SecretBinding:
    row = known.row
    secret, exchange = row.secret, row.exchange
    return SecretBinding(
        name=secret.name,
        hosts=[place_text(place) for place in secret.places],
        groups=secret.groups,
        style=style_text(secret.style, secret.parameter),
        placeholder=placeholder(secret.name) if secret.style == "placeholder" else None,
        token_url=exchange.token_url if exchange is not None else None,
        client_id=exchange.client_id if exchange is not None else None,
        scope=(exchange.scope or None) if exchange is not None else None,
        client_secret=exchange is not None and exchange.has_client_secret,
        created_by=row.created_by,
        changed_by=row.changed_by,
        changed_at=row.changed_at,
        closed=[ClosedHost(one.group, place_text(one.place), one.allow) for one in known.closed],
    )


def _told(known: Known, group: str | None) -> SecretBinding:
    """Return what an agent may know: nothing of whose the account is, of other groups, and of who bound it."""
    secret = known.row.secret
    return SecretBinding(
        name=secret.name,
        hosts=[place_text(place) for place in secret.places],
        groups=None if secret.groups is None or group is None else [one for one in secret.groups if one == group],
        style=style_text(secret.style, "…" if secret.style == "basic" else secret.parameter),
        placeholder=placeholder(secret.name) if secret.style == "placeholder" else None,
        token_url=None,
        client_id=None,
        scope=None,
        client_secret=False,
        created_by=None,
        changed_by=None,
        changed_at=None,
        closed=[
            ClosedHost(one.group, place_text(one.place), one.allow)
            for one in known.closed
            if group is None or one.group == group
        ],
    )
