"""24 hours of a bad network, an hour in some seconds, on each channel (issue 5, acceptance 3).

F-48, F-177; W-11, W-39. ``NANOCLAW_SOAK_HOURS`` (``make soak``) has so many hours of any weather instead, chosen by
``NANOCLAW_SOAK_SEED``.
"""

import os
import random
from collections.abc import Sequence

from fault_proxy import Weather
from system.bad_day import DAY, FAILING, FAIR, LIMITING, day
from system.bad_day_sides import discord_side, matrix_side, telegram_side

HOURS = int(os.environ.get("NANOCLAW_SOAK_HOURS", "0"))
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260301"))


def weathers(luck: random.Random) -> Sequence[str]:
    """Return the day's hours; about a third is fair."""
    if not HOURS:
        return DAY
    bad = [*(one for one in Weather if one is not FAIR), FAILING, LIMITING]
    return [FAIR if luck.random() < 0.35 else luck.choice(bad) for _ in range(HOURS)]


def test_on_telegram(group: str) -> None:
    """Where a message was doubled, its first request's answer was cut off: Telegram has no key to know it by."""
    luck = random.Random(SEED)
    with telegram_side(group) as side:
        day(side, weathers(luck), luck)


def test_on_discord(group: str) -> None:
    luck = random.Random(SEED)
    with discord_side(group) as side:
        day(side, weathers(luck), luck)


def test_on_matrix(group: str) -> None:
    luck = random.Random(SEED)
    with matrix_side(group) as side:
        day(side, weathers(luck), luck)
