"""What accelerators draw, and what power limits do: invariants, and laws in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.devices import device_names, find_spec
from hwmodels.gpu.power import (
    LEAST_CLOCK,
    ClockLaw,
    GpuPower,
    Load,
    draw,
    known,
    power_of,
    sm_cycles_per_s,
)
from simulator.errors import InputError
from simulator.source import Source

LAW = ClockLaw(linear_share=0.5, still_share=0.1)
shares = st.floats(0.05, 0.95)
laws = st.builds(ClockLaw, shares, st.floats(0.0, 0.3))
watts = st.floats(1.0, 500.0)


def one(dynamic_w, spread=0.0, sensitivity=1.0):
    """Return the load of one program."""
    return Load(dynamic_w=np.array([dynamic_w]), spread=np.array([spread]),
                sensitivity=np.array([sensitivity]))  # fmt: skip


def drawn(load, room_w, ready_w=40.0, law=LAW):
    """Return power and slowdown of one program."""
    found = draw(load, np.array([room_w]), np.array([ready_w]), law)
    return float(found.power_w[0]), float(found.slowdown[0])


def gpu(**changes):
    """Return a GPU of 40 W ready, 200 W as sold, 100 and 300 W more by its units."""
    values = {
        "idle_w": 20.0, "ready_w": 40.0, "limit_w": 200.0, "least_w": None, "vector_w": 100.0,
        "matrix_w": 300.0, "law": LAW, "limit_gain": 1.0, "sensitivity": 0.5,
        "sources": (Source("a test"),), "error_ratio": (0.9, 1.1),
    }  # fmt: skip
    return GpuPower(**{**values, **changes})


@given(laws, st.floats(0.1, 1.0))
def test_the_clock_that_leaves_a_dynamic_power_is_the_inverse_of_the_law(law, clock):
    assert law.clock(law.dynamic(np.array(clock))) == pytest.approx(clock, rel=1e-9)


@given(laws)
def test_at_full_clock_all_dynamic_power_is_drawn(law):
    assert law.dynamic(np.array(1.0)) == pytest.approx(1.0)


def test_a_law_without_voltage_scaling_is_proportional_to_the_clock():
    assert ClockLaw(1 - 1e-9, 0.0).dynamic(np.array(0.4)) == pytest.approx(0.4)


def test_with_room_for_all_a_program_draws_what_it_asks_and_takes_no_longer():
    assert drawn(one(100.0), 150.0) == pytest.approx((140.0, 1.0))


def test_a_steady_program_that_asks_more_draws_the_limit():
    power, slowdown = drawn(one(200.0), 110.0)
    assert power == pytest.approx(150.0)
    # 0.1 + 0.9 (0.5 x + 0.5 x^3) = 0.55 asks for x + x^3 = 1, so x = 0.6823 (the real root).
    assert slowdown == pytest.approx(1 / 0.6823278)


def test_only_the_part_of_the_time_that_follows_the_clock_lengthens():
    whole, part = (drawn(one(200.0, sensitivity=share), 110.0)[1] for share in (1.0, 0.25))
    assert part - 1 == pytest.approx((whole - 1) / 4)


def test_without_limit_the_spread_over_time_changes_nothing_in_the_mean():
    assert drawn(one(100.0, spread=0.2), 1000.0) == pytest.approx((140.0, 1.0))


def test_power_that_changes_over_time_is_clipped_before_its_mean_reaches_the_limit():
    power, slowdown = drawn(one(100.0, spread=0.4), 100.0)
    assert power < 140.0
    assert slowdown > 1.0


@given(watts, st.floats(0.0, 0.8), shares, watts, st.floats(1.0, 3.0), laws)
def test_a_lower_limit_is_never_faster_and_never_draws_more(
    asked, spread, sensitivity, room, factor, law
):
    load = one(asked, spread, sensitivity)
    low, high = (drawn(load, limit, law=law) for limit in (room, room * factor))
    assert low[0] <= high[0] * (1 + 1e-9)
    assert low[1] >= high[1] * (1 - 1e-9)


@given(watts, st.floats(0.0, 0.8), shares, watts, laws)
def test_power_lies_between_ready_and_the_limit(asked, spread, sensitivity, room, law):
    power, slowdown = drawn(one(asked, spread, sensitivity), room, 40.0, law)
    assert 40.0 <= power <= 40.0 + room * (1 + 1e-9)
    assert slowdown >= 1.0


@given(st.floats(0.0, 10.0), shares, shares)
def test_parts_of_the_energy_add_up_to_the_whole(time, busy, matrix):
    power = gpu()
    vector_s, matrix_s = time * busy * (1 - matrix), time * busy * matrix
    parts = power.energy_j(time, vector_s, matrix_s)
    vector_w, matrix_w = power.power_w(), power.power_w(matrix=True)
    assert vector_w is not None
    assert matrix_w is not None
    whole = 40.0 * (time - vector_s - matrix_s) + vector_w * vector_s + matrix_w * matrix_s
    assert sum(parts.values()) == pytest.approx(whole, abs=1e-9)
    assert sum(parts.values()) >= 40.0 * time * (1 - 1e-9)


def test_energy_of_ops_is_that_of_each():
    times, busy = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    parts = gpu().energy_j(times, busy, 0 * busy)
    assert parts["idle"] == pytest.approx([40.0, 80.0])
    assert parts["compute"] == pytest.approx([50.0, 100.0])


def test_units_that_ask_more_than_the_limit_draw_the_limit():
    assert gpu().power_w(matrix=True) == pytest.approx(200.0)
    assert gpu().power_w() == pytest.approx(140.0)
    assert gpu().power_w(120.0) == pytest.approx(120.0)


def test_a_limit_slows_down_against_the_limit_as_sold():
    assert gpu().slowdown(200.0) == 1.0
    high, low = gpu().slowdown(120.0), gpu().slowdown(90.0)
    assert 1.0 < high < low


@pytest.mark.parametrize("limit", [40.0, 0.0, -100.0, 201.0, float("nan"), float("inf")])
def test_a_limit_that_cannot_be_set_is_an_error_that_names_the_range(limit):
    within = r"power.limit_w: expected a power limit from 83.64 W, .* clock, to 200 W, as sold; got"
    with pytest.raises(InputError, match=within):
        gpu().power_w(limit)
    with pytest.raises(InputError, match=r"expected a power limit from 100 W, the lowest .* 200 W"):
        gpu(least_w=100.0).power_w(min(limit, 99.0))


def test_no_limit_is_lower_than_what_the_lowest_clock_draws():
    lowest = 40.0 + 300.0 * float(LAW.dynamic(np.array(LEAST_CLOCK)))
    assert gpu().power_w(lowest + 0.1, matrix=True) == pytest.approx(lowest + 0.1)
    with pytest.raises(InputError, match="10 % of its clock"):
        gpu().power_w(lowest - 0.1)
    starved = gpu(limit_w=45.0)
    assert starved.power_w(matrix=True) == pytest.approx(lowest)


@pytest.mark.parametrize("unknown", ["ready_w", "limit_w", "vector_w"])
def test_what_is_not_known_makes_unknown_and_not_zero(unknown):
    power = gpu(**{unknown: None})
    assert power.power_w() is None
    assert power.slowdown(100.0) is None
    assert power.energy_j(1.0, 0.5, 0.0)["compute"] is None
    idle = power.energy_j(1.0, 0.5, 0.0)["idle"]
    assert idle is None if unknown == "ready_w" else idle == 40.0


def test_ready_power_that_was_read_goes_before_the_share_of_the_limit():
    v100, h100 = (power_of(find_spec(name))
                  for name in ("nvidia-v100-pcie-16gb", "nvidia-h100-sxm-80gb"))  # fmt: skip
    assert (v100.ready_w, v100.sources[0].kind) == (35.0, "measured")
    assert h100.ready_w == pytest.approx(known()["ready_share"]["stacked"] * 700)
    assert h100.sources[0].kind == "estimate"
    assert all("suite gpu-power" in power.sources[1].text for power in (v100, h100))


def test_shares_of_ready_power_are_the_medians_of_what_was_read():
    shares: dict[str, list[float]] = {"stacked": [], "graphics": []}
    for name, row in known()["ready"].items():
        if not row["note"].startswith("as with"):
            spec = find_spec(name)
            stacked = str(spec.values["memory.type"]).startswith("HBM")
            share = row["ready_w"] / spec.known("power.tdp_w")
            shares["stacked" if stacked else "graphics"].append(share)
    medians = {kind: np.median(every) for kind, every in shares.items()}
    assert known()["ready_share"] == pytest.approx(medians, abs=5e-4)


def test_dynamic_power_goes_with_multiprocessors_and_clock():
    specs = [find_spec(f"nvidia-{name}-pcie-16gb") for name in ("p100", "v100")]
    p100, v100 = ((power_of(spec).vector_w or 0.0) / sm_cycles_per_s(spec) for spec in specs)
    assert p100 == pytest.approx(v100)
    assert p100 > 0


def test_every_accelerator_of_the_catalog_draws_between_ready_and_its_limit():
    specs = [find_spec(name) for name in device_names()]
    accelerators = [spec for spec in specs if spec.kind == "gpu"]
    assert len(accelerators) > 30
    for spec in accelerators:
        power = power_of(spec)
        for matrix in (False, True):
            busy = power.power_w(matrix=matrix)
            assert None not in (power.ready_w, busy, power.limit_w)
            assert (power.ready_w or 0.0) < (busy or 0.0) <= (power.limit_w or 0.0), spec.name
