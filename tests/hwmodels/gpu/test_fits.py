"""Fits of kernels: a device's own, packaged ones, and those of the nearest relative."""

import math

import pytest

from hwmodels.device_writer import write_device, write_family_fit
from hwmodels.devices import find_spec
from hwmodels.gpu.families import FAMILIES, fit_for
from hwmodels.gpu.fits import COMMON, Fits, SetKey, distance, fits_file, spread_key
from hwmodels.relatives import completed
from hwmodels.spec import Calibration, FamilyFit
from simulator.errors import FileError
from tests.hwmodels.gpu.chips import gpu

GEMM = FAMILIES["gemm"]


def fit(device, floor_cycles=1000.0, correction=()):
    return FamilyFit(numbers={**GEMM.start, "floor_cycles": floor_cycles},
                     spreads={"floor_cycles": 0.1},
                     correction=correction, error_ratio=(0.9, 1.1), data="12 kernels",
                     device=device)  # fmt: skip


def spec(name):
    return completed(find_spec(name), find_spec)


@pytest.fixture
def folder(tmp_path):
    """Hold fits of an A100 and an H100."""
    for device, cycles in (("nvidia-a100-sxm-80gb", 1e3), ("nvidia-h100-sxm-80gb", 2e3)):
        key = SetKey(device, "gemm", "bfloat16")
        write_family_fit(fits_file(key, tmp_path), fit(device, cycles, (0.5, -0.25)))
    return tmp_path


def test_what_was_written_is_read_back(folder):
    found = Fits(spec("nvidia-h100-sxm-80gb"), find_spec, folder)["gemm", "bfloat16"]
    assert found.numbers["floor_cycles"] == 2e3
    assert found.spreads["floor_cycles"] == 0.1
    assert found.correction == (0.5, -0.25)
    assert found.error_ratio == (0.9, 1.1)
    assert (found.data, found.device) == ("12 kernels", "nvidia-h100-sxm-80gb")


@pytest.mark.parametrize(("name", "relative"), [
    ("nvidia-h200-sxm-141gb", "nvidia-h100-sxm-80gb"),
    ("nvidia-a100-pcie-40gb", "nvidia-a100-sxm-80gb"),
    ("nvidia-b200-sxm", "nvidia-h100-sxm-80gb"),
])  # fmt: skip
def test_a_device_takes_over_from_its_nearest_relative(folder, name, relative):
    assert Fits(spec(name), find_spec, folder)["gemm", "bfloat16"].device == relative


def test_what_is_taken_over_has_a_wider_interval_across_architectures(folder):
    ratios = {}
    for name in ("nvidia-h100-sxm-80gb", "nvidia-h200-sxm-141gb", "nvidia-b200-sxm"):
        low, high = Fits(spec(name), find_spec, folder)["gemm", "bfloat16"].error_ratio or (1, 1)
        ratios[name] = math.log(high / low)
    assert list(ratios.values()) == sorted(ratios.values())
    assert len(set(ratios.values())) == 3


def test_attention_of_many_queries_differs_more_by_architecture_than_other_kernels():
    a100, h100, h200 = (spec(f"nvidia-{name}") for name in (
        "a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb"))  # fmt: skip
    prefill, decode = (a100.known(spread_key(a100, h100, name))
                       for name in ("prefill_triton", "decode_triton"))  # fmt: skip
    assert prefill > decode
    assert spread_key(h200, h100, "prefill_triton") == spread_key(h200, h100, "decode_triton")


def test_a_dtype_without_a_fit_takes_the_one_of_its_width_else_only_the_numbers(folder):
    fits = Fits(spec("nvidia-h100-sxm-80gb"), find_spec, folder)
    assert fit_for(GEMM, "float16", fits).correction == (0.5, -0.25)
    assert fit_for(GEMM, "float32", fits).correction == ()
    assert fit_for(GEMM, "float32", fits).numbers["floor_cycles"] == 2e3
    assert fit_for(GEMM, "float32", {}).numbers == GEMM.start


def test_of_the_two_halves_counts_what_was_measured_nearer(folder):
    far = SetKey("nvidia-v100-sxm2-16gb", "gemm", "float16")
    write_family_fit(fits_file(far, folder), fit(far.device, 9e3))
    for name, nearest in (
        ("nvidia-h100-sxm-80gb", "nvidia-h100-sxm-80gb"),
        ("nvidia-h200-sxm-141gb", "nvidia-h100-sxm-80gb"),
        ("nvidia-v100-sxm2-32gb", "nvidia-v100-sxm2-16gb"),
    ):
        assert Fits(spec(name), find_spec, folder)["gemm", "float16"].device == nearest
    with pytest.raises(KeyError):
        Fits(spec("nvidia-h100-sxm-80gb"), find_spec, folder)["gemm", "int8"]


def test_only_what_was_asked_for_is_read(folder):
    broken = fits_file(SetKey("nvidia-h100-sxm-80gb", "gemm", "float8"), folder)
    broken.write_text("data = ")
    fits = Fits(spec("nvidia-h100-sxm-80gb"), find_spec, folder)
    assert len(fits["gemm", "bfloat16"].numbers) == len(GEMM.parameters)
    assert list(fits.used) == [("gemm", "bfloat16")]
    with pytest.raises(FileError, match="is not TOML"):
        fits["gemm", "float8"]


@pytest.mark.parametrize(("text", "complaint"), [
    ("data = 'x'\ndevice = 'y'\ncorrection = ['a']", "correction: expected a list of numbers"),
    ("data = 'x'\ndevice = 'y'\nerror_ratio = [2, 1]", "error_ratio: expected two positive"),
    ("data = 'x'\ndevice = 'y'\nshare = 1", "share: unknown key"),
    ("device = 'y'", "data: missing"),
    ("data = 'x'\ndevice = 'y'\n[numbers]\nfloor_s = { value = -1 }", "floor_s: expected a number"),
])  # fmt: skip
def test_a_broken_fit_is_one_error_that_names_file_and_key(folder, text, complaint):
    path = fits_file(SetKey("nvidia-h100-sxm-80gb", "gemm", "float16"), folder)
    path.write_text(text)
    with pytest.raises(FileError, match=f"(?s)gemm.float16.toml.*{complaint}"):
        Fits(spec("nvidia-h100-sxm-80gb"), find_spec, folder)["gemm", "float16"]


def test_the_calibration_of_a_users_device_goes_first(tmp_path, monkeypatch):
    base = find_spec("nvidia-h100-sxm-80gb")
    own = Calibration(numbers={}, data="mine", date="2026-01-31",
                      families={("gemm", "bfloat16"): fit("mine", 7e3)})  # fmt: skip
    path = tmp_path / "mine.toml"
    write_device(path, base.replaced(name="mine", calibration=own), like=base)
    found = gpu(path).fits["gemm", "bfloat16"]
    assert found.numbers["floor_cycles"] == 7e3
    assert found.device == "mine"


def test_what_devices_have_in_common_stands_for_a_relative_of_another_architecture(folder):
    common = SetKey(COMMON, "gemm", "bfloat16")
    write_family_fit(fits_file(common, folder), fit("both", 5e3))
    for name, cycles, correction in (
        ("nvidia-h100-sxm-80gb", 2e3, (0.5, -0.25)),
        ("nvidia-h200-sxm-141gb", 2e3, (0.5, -0.25)),  # of the same architecture
        ("nvidia-b200-sxm", 5e3, (0.25, -0.125)),
    ):
        found = Fits(spec(name), find_spec, folder)["gemm", "bfloat16"]
        assert found.numbers["floor_cycles"] == cycles
        assert found.correction == correction
        assert found.device == "nvidia-h100-sxm-80gb"
        assert (found.error_ratio != (0.9, 1.1)) == (name != "nvidia-h100-sxm-80gb")


def test_a_device_is_nearest_to_itself():
    h100 = find_spec("nvidia-h100-sxm-80gb")
    assert distance(h100, h100) == (0.0,) * len(distance(h100, h100))


def test_desktop_and_data_centre_are_further_apart_than_two_years():
    b200, h100 = find_spec("nvidia-b200-sxm"), find_spec("nvidia-h100-sxm-80gb")
    desktop = find_spec("nvidia-rtx-pro-6000-blackwell-server")
    assert distance(b200, h100) < distance(b200, desktop)
