"""A sweep over power limits shows what a lower one costs in time and saves in energy."""

import pytest

from scalemodel.asking import sweep
from simulator.scenario import Scenario
from validation.suite import find_suite

SOLD_W = 250.0
LIMITS = (100.0, 125.0, 175.0, 200.0, SOLD_W)
TRAINING = Scenario(
    workload="resnet50",
    on="nvidia-v100-pcie-32gb",
    parameters={"workload.batch": 64, "workload.training": True},
)


def measured_j():
    """Return the measured energy of an epoch of this training by power limit."""
    settings = {"workload": "resnet50", "on": "V100", "workload.batch": 64.0}
    return {
        case.number("on.power.limit_w"): case.measured
        for case in find_suite("gpu-power").cases()
        if case.metric == "energy_j" and settings.items() <= case.settings.items()
    }


@pytest.fixture(scope="module")
def frame():
    return sweep({"on.power.limit_w": LIMITS}, TRAINING)


def test_a_lower_limit_takes_longer_and_draws_less(frame):
    assert frame["step_time_s"].is_monotonic_decreasing
    assert frame["mean_power_w"].is_monotonic_increasing
    assert (frame["mean_power_w"] <= frame["on.power.limit_w"]).all()


def test_a_lower_limit_saves_energy_as_it_was_measured(frame):
    predicted, measured = dict(zip(LIMITS, frame["energy_j"], strict=True)), measured_j()
    assert measured.keys() >= set(LIMITS)
    for limit in LIMITS:
        share = predicted[limit] / predicted[SOLD_W]
        assert share == pytest.approx(measured[limit] / measured[SOLD_W], abs=0.2)
        assert share <= 1.0


def test_a_limit_that_cannot_be_set_is_a_row_with_the_range():
    frame = sweep({"on.power.limit_w": (20.0, SOLD_W, 400.0)}, TRAINING)
    low, sold, high = frame["reason"]
    assert not isinstance(sold, str) or not sold
    for reason in (low, high):
        assert "power.limit_w: expected a power limit from 70.05 W" in reason
        assert "to 250 W, as sold" in reason
