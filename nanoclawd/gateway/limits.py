"""What a rule that allows still bounds: how often, and how much each way."""

import asyncio
import math
from dataclasses import dataclass
from typing import Final

from nanoclawd.egress.rules import Rate, Rule
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.permit import Permit

_MAX_ACCOUNTS: Final = 4096


@dataclass(slots=True)
class _Account:
    rate: Rate
    tokens: float
    at: float


class Limits:
    """Counts what groups ask for by each rule that has a rate. A restart of the gateway begins anew."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, int], _Account] = {}

    def enter(self, permit: Permit) -> None:
        """Count a request, or a connection that nobody looks into.

        Raises:
            Denial: there were too many in this time.
        """
        rule = permit.decision.rule
        if rule is None or rule.rate is None:
            return
        now = asyncio.get_running_loop().time()
        account = self._account(permit.agent.group, rule, rule.rate, now)
        each = rule.rate.seconds / rule.rate.count
        account.tokens = min(float(rule.rate.count), account.tokens + (now - account.at) / each)
        account.at = now
        if account.tokens >= 1:
            account.tokens -= 1
            return
        raise Denial(
            429,
            "rate_limited",
            f"{rule} lets {rule.rate} through, and there were as many",
            outcome="limited",
            brief=f"Too many requests; nanoclaw lets {rule.rate} through",
            retry_after=max(1, math.ceil((1 - account.tokens) * each)),
        )

    def _account(self, group: str, rule: Rule, rate: Rate, now: float) -> _Account:
        account = self._accounts.get((group, rule.id))
        if account is not None and account.rate == rate:
            return account
        if len(self._accounts) >= _MAX_ACCOUNTS:
            # A rule's number is never given twice, so old ones pile up. What is full again is as good as new.
            self._accounts = {key: one for key, one in self._accounts.items() if now - one.at < one.rate.seconds}
        account = self._accounts[group, rule.id] = _Account(rate, float(rate.count), now)
        return account


def check_sent(permit: Permit, size: int) -> None:
    """See to it that what an agent sends is within its rule's bound.

    Args:
        permit: of the request or tunnel.
        size: bytes of the body so far, or as its head announces them.

    Raises:
        Denial: it is too much.
    """
    rule = permit.decision.rule
    if rule is not None and rule.max_sent is not None and size > rule.max_sent:
        words = f"{rule} lets bodies of {rule.max_sent} bytes through, and this one is larger"
        raise Denial(413, "body_too_large", words, outcome="too_large")


def is_within(permit: Permit, sent: int, received: int) -> bool:
    """Tell whether what has gone through a connection each way, in bytes, is within its rule's bounds."""
    rule = permit.decision.rule
    if rule is None:
        return True
    return (rule.max_sent is None or sent <= rule.max_sent) and (
        rule.max_received is None or received <= rule.max_received
    )


def check_received(permit: Permit, size: int) -> None:
    """See to it that what an agent gets is within its rule's bound, likewise.

    Raises:
        Denial: it is too much; where an answer has begun, it is cut there.
    """
    rule = permit.decision.rule
    if rule is not None and rule.max_received is not None and size > rule.max_received:
        words = f"{rule} lets answers of {rule.max_received} bytes through, and this one is larger"
        raise Denial(502, "answer_too_large", words, outcome="too_large")
