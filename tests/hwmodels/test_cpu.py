"""A CPU's times follow the closed form of `hwmodels.profile`, and no more of anything is slower."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.cores import Cores
from hwmodels.cpu import cpu_of
from hwmodels.cpu_rates import (
    RESOURCES,
    datasheet_rates,
    flops_per_cycle,
    numbers_of,
    rates_of,
    scaled_rates,
)
from hwmodels.spec import Calibration, Number
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.protocols import Calibrated, Device
from simulator.source import Source
from tests.hwmodels.machines import FIELDS, GRAPHS, cpu, graph, product, rates, spec

pytestmark = pytest.mark.usefixtures("plain_costs")


def seconds(device, op, threads):
    return float(device.times_s(graph(op), threads)[0])


def test_one_thread_takes_dispatch_and_computing():
    assert seconds(cpu(), product(1e9), 1) == pytest.approx(1e-6 + 0.1)


def test_a_team_deals_the_work_and_pays_for_fork_and_join():
    fork = 2e-6 + 1e-7 * (4 - 2)
    assert seconds(cpu(), product(1e9), 4) == pytest.approx(1e-6 + fork + 0.1 / 4)


def test_an_op_under_the_grain_stays_on_one_thread():
    assert seconds(cpu(), product(1e5), 8) == seconds(cpu(), product(1e5), 1)


def test_one_core_cannot_fill_the_memory():
    stream = product(0.0, moved=4e8)
    assert seconds(cpu(), replace(stream, flops=1e7), 1) == pytest.approx(1e-6 + 0.04, rel=1e-3)
    eight = seconds(cpu(), replace(stream, flops=1e7), 8)
    assert eight == pytest.approx(4e8 / 40e9 + 1e-6 + 2.6e-6)


def test_what_fits_the_cache_is_read_from_it():
    assert seconds(cpu(), product(0.0, moved=5e5), 1) == pytest.approx(1e-6 + 5e5 / 100e9)


def test_computing_and_moving_data_overlap():
    both = seconds(cpu(), product(1e9, moved=5e8), 1)
    assert both == pytest.approx(1e-6 + max(0.1, 0.05))


def test_second_hardware_threads_add_their_share():
    device = cpu(cores=Cores(per_socket=8, threads_per_core=2, sibling_work=0.2), per_thread_s=0.0)
    overhead = 3e-6
    assert seconds(device, product(8e9), 16) == pytest.approx(overhead + 0.8 / (8 * 1.2))


def test_one_thread_more_than_cores_is_slower_than_as_many_as_cores():
    device = cpu(cores=Cores(per_socket=8, threads_per_core=2, sibling_work=0.2))
    assert seconds(device, product(1e9), 9) > seconds(device, product(1e9), 8)


def test_a_second_socket_doubles_the_memory_and_costs_a_dearer_fork():
    one = cpu(cores=Cores(per_socket=4, sockets=2, far_fork=3.0))
    op = product(1e7, moved=4e9)
    assert seconds(one, op, 4) == pytest.approx(4e9 / 40e9 + 1e-6 + 2.2e-6)
    assert seconds(one, op, 8) == pytest.approx(4e9 / 80e9 + 1e-6 + 3 * 2.6e-6)


def test_half_of_what_two_sockets_read_comes_over_the_link():
    slow_link = Cores(per_socket=4, sockets=2, link_bytes_per_s=10e9)
    # Each socket fetches half of its half from the other: n / 4 bytes over 10 GB/s.
    op = product(1e7, moved=4e9)
    assert seconds(cpu(cores=slow_link), op, 8) == pytest.approx(1e9 / 10e9, rel=1e-3)


def test_with_many_small_ops_more_threads_are_slower():
    device = cpu(fork_s=2e-5, per_thread_s=1e-6)
    small = graph(*[product(3e5)] * 50)
    assert device.times_s(small, 8).sum() > device.times_s(small, 1).sum()


@pytest.mark.parametrize("threads", [0, 17, -3, 1.5])
def test_a_cpu_has_so_many_threads(threads):
    with pytest.raises(InputError, match="from 1 to 16"):
        cpu().times_s(graph(product(1.0)), threads)


def test_an_empty_graph_takes_no_time():
    assert cpu().times_s(graph(), 1).shape == (0,)


@given(GRAPHS, st.integers(1, 16))
def test_parts_add_up_to_the_times(ops, threads):
    device = cpu()
    parts = device.breakdown_s(ops, threads)
    assert set(parts) == {"compute", "memory", "overhead"}
    assert sum(parts.values()) == pytest.approx(device.times_s(ops, threads), rel=1e-12)


@given(GRAPHS, st.integers(1, 16), st.sampled_from(RESOURCES), st.floats(1, 100))
def test_more_of_a_resource_is_never_slower(ops, threads, resource, factor):
    device = cpu()
    more = device.scaled(resource, factor)
    assert (more.times_s(ops, threads) <= device.times_s(ops, threads) * (1 + 1e-12)).all()


@given(GRAPHS, st.integers(1, 16), st.floats(1, 4))
def test_more_clock_cores_and_bandwidth_are_never_slower(ops, threads, factor):
    fields = {"clock.base_hz": 1e9, "clock.all_core_hz": 1.5e9}
    slow = cpu_of(spec().with_fields(fields))
    for key in ("clock.boost_hz", "memory.bandwidth_bytes_per_s", "flops_per_cycle.float32"):
        changes = {key: slow.spec.known(key) * factor}
        if key == "clock.boost_hz":
            changes["clock.all_core_hz"] = 1.5e9 * factor
        quick = cpu_of(slow.spec.with_fields(changes))
        assert (quick.times_s(ops, threads) <= slow.times_s(ops, threads) * (1 + 1e-12)).all()


@given(GRAPHS, st.integers(1, 16))
def test_no_team_is_more_than_p_times_as_fast_as_one_thread(ops, threads):
    device = cpu()
    one, team = device.times_s(ops, 1), device.times_s(ops, threads)
    assert (team >= one / threads * (1 - 1e-12)).all()


@given(GRAPHS, st.integers(1, 16))
def test_times_are_not_below_the_busiest_resource(ops, threads):
    device = cpu()
    busy = min(threads, 8)
    by_arithmetic = ops.flops / (10e9 * busy * 1.2)
    by_memory = np.where(ops.bytes_moved > 1e6, ops.bytes_moved / min(40e9, busy * 10e9), 0.0)
    assert (device.times_s(ops, threads) >= by_arithmetic).all()
    assert (device.times_s(ops, threads) >= by_memory * (1 - 1e-12)).all()


def test_the_resources_of_a_cpu_speed_up_different_ops():
    device = cpu()
    ops = graph(product(1e9), product(0.0, moved=9e5), product(0.0, moved=4e8), product(0.0))
    base = device.times_s(ops, 1)
    for place, resource in enumerate(RESOURCES):
        gain = base / device.scaled(resource, 2.0).times_s(ops, 1)
        assert gain.argmax() == place
    assert device.scaled(RESOURCES[0], 2).scaled(RESOURCES[0], 2).more == {RESOURCES[0]: 4}


def test_an_unknown_resource_and_a_factor_of_nothing_are_errors():
    with pytest.raises(UnknownNameError, match=r"did you mean 'memory\.bandwidth'"):
        cpu().scaled("memory.bandwith", 2)
    for factor in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="positive factor"):
            cpu().scaled("dispatch", factor)


def test_a_cpu_meets_the_protocols_and_survives_pickling():
    device = cpu().scaled("dispatch", 2)
    ops = graph(product(1e9))
    device.times_s(ops, 2)
    assert isinstance(device, Device)
    assert isinstance(device, Calibrated)
    again = pickle.loads(pickle.dumps(device))
    assert again.times_s(ops, 2).tolist() == device.times_s(ops, 2).tolist()
    assert again.more == {"dispatch": 2}


# --- where the rates come from


def calibrated(spread=0.1, **changes):
    numbers = numbers_of(rates(), dict.fromkeys(numbers_of(rates()), spread))
    calibration = Calibration(numbers=numbers, data="12 timings", date="2026-01-31",
                              error_ratio=(0.9, 1.2), reference=FIELDS)  # fmt: skip
    return cpu_of(spec(**changes).replaced(calibration=calibration))


def test_rates_survive_being_stored_as_numbers():
    again = rates_of(calibrated().spec.calibration)
    assert again.families == rates().families
    assert again.levels == rates().levels
    assert (again.fork_s, again.fork_per_thread_s) == (2e-6, 1e-7)


def with_numbers(**changes):
    numbers = numbers_of(rates()) | {
        name.replace("__", "."): Number(value) for name, value in changes.items()
    }
    return Calibration(numbers=numbers, data="12", date="2026-01-31")


def test_a_number_that_no_cpu_has_is_an_error_that_names_a_near_one():
    with pytest.raises(UnknownNameError, match="'fork_ss'; did you mean 'fork_s'"):
        rates_of(with_numbers(fork_ss=1.0))
    with pytest.raises(UnknownNameError, match=r"did you mean 'family\.gemm\.float32\.rate_per_s'"):
        rates_of(with_numbers(family__gemm__float32__rate_s=1.0))


def test_a_number_that_is_missing_or_misplaced_is_an_error():
    with pytest.raises(InputError, match=r"'family\.new\.float32\.rate_per_s' is missing"):
        rates_of(with_numbers(family__new__float32__dispatch_s=1.0))
    with pytest.raises(InputError, match=r"'family\.gemm\.float32' is not inside a table"):
        rates_of(Calibration(numbers={"family.gemm.float32": Number(1.0)}, data="1", date="2026"))
    with pytest.raises(InputError, match=r"'fork_s\.x' lies inside another number"):
        rates_of(with_numbers(fork_s__x=1.0))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("family__gemm__float32__rate_per_s", 0.0, "rate_per_s': expected more than 0"),
        ("level__1__DRAM__bandwidth_bytes_per_s", 0.0, "bandwidth_bytes_per_s': expected more"),
        ("family__gemm__float32__half", 1.0, "half': expected a table, got 1.0"),
        ("family__gemm__float32__half__kk", 1.0, r"half\.kk'; did you mean .*half\.k'"),
        ("framework_s", 1.0, "'framework_s': expected a table, got 1.0"),
        ("framework_s__foward", 1.0, r"did you mean 'framework_s\.forward'"),
        ("level__near__L1__bandwidth_bytes_per_s", 1.0, r"'level\.near'; did you mean 'level\.0'"),
        ("families__gemm__float32__rate_per_s", 1.0, "unknown calibrated number 'families'"),
    ],
)
def test_a_number_that_is_impossible_or_out_of_place_is_an_error(name, value, message):
    with pytest.raises(InputError, match=message):
        rates_of(with_numbers(**{name: value}))


@pytest.mark.parametrize("lost", ["family", "level"])
def test_a_calibration_that_was_cut_off_is_an_error(lost):
    left = {n: number for n, number in with_numbers().numbers.items() if not n.startswith(lost)}
    with pytest.raises(InputError, match=rf"'{lost}\. \.\.\.' is missing \(cut off\?\)"):
        rates_of(Calibration(numbers=left, data="12", date="2026-01-31"))


def test_the_error_of_a_calibration_names_the_device():
    broken = replace(with_numbers(fork_ss=1.0), reference_name="mine")
    with pytest.raises(FileError, match=r"device 'mine': calibration\.numbers: unknown calibrated"):
        cpu_of(spec().replaced(calibration=broken))


def test_a_share_that_is_drawn_above_one_is_one():
    more = with_numbers(family__gemm__float32__parallel=1.2)
    assert rates_of(more).families["gemm", "float32"].parallel == 1


def test_a_calibrated_cpu_has_the_rates_that_were_measured():
    assert calibrated().rates.families == rates().families


def test_other_fields_than_the_measured_ones_scale_the_rates():
    quicker = calibrated(clock__boost_hz=4e9, memory__bandwidth_bytes_per_s=60e9).rates
    gemm = quicker.families["gemm", "float32"]
    assert (gemm.rate_per_s, gemm.dispatch_s) == (20e9, 0.5e-6)
    l2, memory = quicker.levels
    assert (l2.bandwidth_bytes_per_s, memory.bandwidth_bytes_per_s) == (200e9, 10e9)
    assert memory.shared_bytes_per_s == 60e9
    wider = calibrated(flops_per_cycle__float32=64.0).rates
    assert wider.families["gemm", "float32"].rate_per_s == 40e9


def test_a_dtype_without_units_of_its_own_runs_as_float32():
    assert flops_per_cycle(FIELDS, "bfloat16") == 16
    assert flops_per_cycle(FIELDS | {"flops_per_cycle.bfloat16": 128.0}, "bfloat16") == 128
    same = scaled_rates(rates(), FIELDS, FIELDS)
    assert same.families == rates().families


def test_without_calibration_the_datasheet_is_all_there_is():
    promised = datasheet_rates(spec())
    assert promised.families["gemm", "float32"].rate_per_s == 16 * 2e9
    assert promised.families["elementwise", "float32"].rate_per_s == 8 * 2e9
    assert cpu_of(spec()).error_ratio(graph(product(1e9))) is None


def test_draws_are_equal_for_equal_seeds_and_spread_as_stated():
    device = calibrated(spread=0.1)
    ops = graph(product(1e9))
    draws = [seconds(device.drawn(seed), product(1e9), 1) for seed in range(300)]
    assert draws[7] == float(device.drawn(7).times_s(ops, 1)[0])
    assert np.std(np.log(draws)) == pytest.approx(0.1, rel=0.2)
    assert np.median(draws) == pytest.approx(seconds(device, product(1e9), 1), rel=0.03)


def test_devices_that_share_a_calibration_draw_the_same_errors():
    one, other = calibrated(), calibrated(clock__boost_hz=4e9)
    key = ("gemm", "float32")
    ratio = [device.drawn(5).rates.families[key].rate_per_s / device.rates.families[key].rate_per_s
             for device in (one, other)]  # fmt: skip
    assert ratio[0] == pytest.approx(ratio[1])
    assert ratio[0] != 1


def test_what_was_asked_for_more_of_stays_so_in_a_draw():
    device = calibrated().scaled("arithmetic", 2)
    assert device.drawn(5).rates.families["gemm", "float32"].rate_per_s == pytest.approx(
        2 * calibrated().drawn(5).rates.families["gemm", "float32"].rate_per_s
    )


def test_without_calibration_a_draw_changes_nothing():
    device = cpu_of(spec())
    assert device.drawn(3) is device


def test_sources_name_the_calibration_first_and_each_once():
    sources = calibrated().sources
    assert sources[0].text == "12 timings, 2026-01-31"
    assert len(set(sources)) == len(sources)
    assert calibrated().error_ratio(graph(product(1e9))) == (0.9, 1.2)


def test_sources_are_of_numbers_that_count():
    estimate = Source("a guess", kind="estimate")

    def named(key, **changes):
        known = spec(**changes)
        return cpu_of(replace(known, values=known.values | {key: 0.5}, sources={key: estimate}))

    assert named("model.sibling_work").sources == (estimate,)
    assert named("model.sibling_work", threads_per_core=1).sources == ()
    assert named("model.far_fork", sockets=2).sources == (estimate,)
    assert named("model.far_fork").sources == ()
    assert named("model.memory_share").sources == ()
    assert named("memory.size_bytes").sources == (estimate,)
