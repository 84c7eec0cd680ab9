"""A device without calibration takes over its nearest relative's, with wider intervals."""

import math
from pathlib import Path

import pytest

from hwmodels.cpu import cpu_of
from hwmodels.cpu_rates import numbers_of
from hwmodels.device_writer import write_device
from hwmodels.devices import find_spec
from hwmodels.relatives import completed
from hwmodels.spec import Calibration
from tests.hwmodels.machines import calibration_of, rates

HERE = find_spec("amd-epyc-7742")
SPREAD = completed(HERE, find_spec, Path("none")).known("model.borrowed_spread")


@pytest.fixture
def calibrated(tmp_path):
    """Make a folder with one calibration, of two cores of a zen3 socket."""
    measured = find_spec("amd-epyc-7763").with_fields({"cores": 2})
    numbers = numbers_of(rates(), {"fork_s": 0.4})
    calibration = Calibration(numbers=numbers, data="12 timings", date="2026-01-31",
                              error_ratio=(0.9, 1.1))  # fmt: skip
    (tmp_path / "cpu").mkdir()
    write_device(tmp_path / "cpu" / "zen3.toml", measured.replaced(calibration=calibration))
    return tmp_path


def test_what_a_file_does_not_say_is_estimated_and_marked_so():
    spec = completed(HERE, find_spec, Path("none"))
    assert spec.known("model.sibling_work") > 0
    assert spec.sources["model.sibling_work"].kind == "estimate"
    assert "model.sibling_work" not in HERE.values


def test_what_a_file_says_is_not_estimated():
    stated = HERE.with_fields({"model.sibling_work": 0.4})
    assert completed(stated, find_spec, Path("none")).values["model.sibling_work"] == 0.4


def test_without_any_calibration_a_device_stays_without(tmp_path):
    assert completed(HERE, find_spec, tmp_path).calibration is None


def test_a_relatives_numbers_are_taken_over_with_wider_spreads(calibrated):
    taken = calibration_of(completed(HERE, find_spec, calibrated))
    assert taken.numbers["fork_s"].value == 2e-6
    assert taken.numbers["fork_s"].spread == pytest.approx(math.hypot(0.4, SPREAD))
    low, high = taken.error_ratio or (1, 1)
    assert low < 0.9 / math.exp(SPREAD)
    assert high > 1.1 * math.exp(SPREAD)


def test_the_sources_say_from_whom_the_numbers_were_taken_over(calibrated):
    source = cpu_of(completed(HERE, find_spec, calibrated)).sources[0]
    assert source.text == "12 timings, 2026-01-31"
    assert source.note.startswith("taken over from zen3 (zen3), scaled by clock")


def test_rates_are_scaled_by_clock_and_memory_is_the_devices_own(calibrated):
    spec = completed(HERE, find_spec, calibrated)
    taken = cpu_of(spec).rates
    assert taken.families["gemm", "float32"].rate_per_s == pytest.approx(10e9 * 3.4 / 3.5)
    share = spec.known("model.memory_share")
    assert taken.levels[-1].shared_bytes_per_s == pytest.approx(204.8e9 * share)
    assert taken.levels[0].shared_bytes_per_s == math.inf


def test_a_device_with_a_calibration_keeps_it(calibrated):
    own = Calibration(numbers=numbers_of(rates()), data="own", date="2026-01-31",
                      reference=HERE.values)  # fmt: skip
    spec = completed(HERE.replaced(calibration=own), find_spec, calibrated)
    assert spec.calibration is own
