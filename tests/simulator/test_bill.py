"""A bill is length times price, and unknown where a part of it is unknown."""

import pytest

from simulator.bill import Tariff
from simulator.errors import InputError


def test_hours_energy_and_money_follow_from_the_step():
    bill = Tariff(steps=1000, price_per_hour=3.0, price_per_kwh=0.2).bill(3.6, 36_000.0)
    assert (bill.hours, bill.kwh, bill.money) == pytest.approx((1.0, 10.0, 5.0))


def test_no_price_means_no_money():
    assert Tariff(steps=10).bill(1.0, 1.0).money is None


def test_a_price_of_energy_that_is_unknown_makes_the_money_unknown():
    bill = Tariff(steps=10, price_per_hour=1.0, price_per_kwh=0.2).bill(1.0, None)
    assert (bill.kwh, bill.money) == (None, None)


@pytest.mark.parametrize("given", [{"steps": -1}, {"steps": 1, "price_per_hour": float("nan")}])
def test_impossible_tariffs_are_refused(given):
    with pytest.raises(InputError, match=r"job\..* must be finite and not negative"):
        Tariff(**given)
