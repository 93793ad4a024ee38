"""Behind io.nanoclaw.Egress."""

from collections.abc import Sequence

from nanoclawd.agents.egress import EgressRules, Wish
from nanoclawd.control.values import Caller, EgressRule, EgressTest, EgressWish
from nanoclawd.store.egress import EgressRow


class EgressBackend:
    """Rules as operators and agents see them."""

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules

    async def list(self, group: str | None, limit: int) -> Sequence[EgressRule]:
        """Return the rules of a group with those of all groups, or all rules."""
        return [_view(row) for row in await self._rules.listed(group)][:limit]

    async def put(self, caller: Caller, action: str, group: str, wish: EgressWish) -> tuple[EgressRule, int | None]:
        """Write a rule; return it, and the number of the one whose place it takes."""
        wanted = Wish(wish.host, wish.methods, wish.private, wish.lasting, wish.rate, wish.max_body, wish.max_download)
        row, replaced = await self._rules.put(group, action, wanted, caller.user_id)
        return _view(row), replaced

    async def remove(self, caller: Caller, rule: int) -> EgressRule:
        """Take a rule away and return it."""
        return _view(await self._rules.remove(rule, caller.user_id))

    async def about(self, group: str, host: str) -> str:
        """Return the one form of a host that a group's agent wants to reach."""
        return str(await self._rules.about(group, host))

    async def grant(self, caller: Caller, group: str, host: str, lasting: str) -> EgressRule:
        """Let a group's agent reach a host that it has asked for."""
        return _view(await self._rules.grant(group, host, lasting, caller.user_id))

    async def test(self, group: str, url: str, method: str | None) -> EgressTest:
        """Say what would become of a request."""
        folder, tried = await self._rules.try_out(group, url, method)
        decision, asked = tried.decision, tried.asked
        return EgressTest(
            group=folder,
            host=asked.target.host,
            port=asked.target.port,
            allowed=decision.allowed,
            asks=decision.asks,
            rule=decision.rule.id if decision.rule is not None else None,
            reason=decision.reason,
            note=tried.note,
            method=asked.method,
            path=asked.path,
        )


def _view(row: EgressRow) -> EgressRule:
    rule = row.rule
    return EgressRule(
        id=rule.id,
        group=rule.group,
        action=rule.action,
        host=rule.host,
        port=rule.port,
        methods=rule.methods,
        path=rule.path,
        private=rule.private,
        rate=str(rule.rate) if rule.rate is not None else None,
        max_body=rule.max_sent,
        max_download=rule.max_received,
        expires_at=row.expires_at,
        created_by=row.created_by,
        created_at=row.created_at,
    )
