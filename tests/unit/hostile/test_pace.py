"""Looks that find nothing are rationed."""

from nanoclawd.sessions.pace import LOOKS_PER_SECOND, STOCK, LookPace


def test_a_burst_is_free_and_what_follows_is_spread() -> None:
    pace = LookPace()
    assert [pace.fruitless(100.0) for _ in range(STOCK)] == [0.0] * STOCK
    now, looks = 100.0, 0
    while now < 110.0:
        now += pace.fruitless(now)
        looks += 1
    assert looks <= 10 * LOOKS_PER_SECOND + 1


def test_the_stock_comes_back_and_has_a_bound() -> None:
    pace = LookPace()
    for _ in range(STOCK + 10):
        pace.fruitless(0.0)
    assert pace.fruitless(3600.0) == 0.0
    waits = [pace.fruitless(3600.0) for _ in range(STOCK)]
    assert waits[-1] > 0.0


def test_work_renews_the_stock() -> None:
    """Turn after turn with a look too many in each is never held up."""
    pace = LookPace()
    for _ in range(10 * STOCK):
        assert pace.fruitless(1.0) == 0.0
        pace.fruitful()
