"""Every accelerator of the catalog is sourced number by number, and its numbers fit together."""

import re

import pytest

from hwmodels.devices import device_names, find_spec, one_line
from hwmodels.schema import GPU

NAMES = tuple(name for name in device_names() if find_spec(name).kind == "gpu")
TENSOR = tuple(key for key in GPU.fields if key.startswith("tensor."))
GB = 1e9
GIB = 2**30

SPELLINGS = {
    "nvidia-a100-sxm-80gb": (
        "a100", "A100", "a100_sxm", "a100_80gb", "A100-SXM4-80GB", "NVIDIA A100-SXM-80GB",
        "NVIDIA A100-SXM4-80GB (500W)",
    ),
    "nvidia-a100-sxm-40gb": ("a100_40gb", "NVIDIA_A100-SXM4-40GB", "NVIDIA A100-SXM-40GB"),
    "nvidia-a100-pcie-40gb": ("NVIDIA A100-PCIE-40GB",),
    "nvidia-a100-pcie-80gb": (
        "NVIDIA A100 80GB PCIe", "NVIDIA A100-PCIe-80GB", "NVIDIA A100 - PCIe - 80 GB",
    ),
    "nvidia-h100-sxm-80gb": (
        "h100", "h100_sxm", "h100_80gb", "H100 SXM", "NVIDIA H100 80GB HBM3",
        "NVIDIA_H100_80GB_HBM3", "NVIDIA H100-SXM-80GB", "NVIDIA H100-SXM5-80GB",
    ),
    "nvidia-h100-pcie-80gb": ("NVIDIA H100-PCIe-80GB",),
    "nvidia-h200-sxm-141gb": ("h200_sxm", "H200 SXM", "NVIDIA H200-SXM5-141GB"),
    "nvidia-gh200": ("GH200 120GB",),
    "nvidia-b200-sxm": (
        "b200_sxm", "B200 (p6-b200.48xlarge)", "NVIDIA Blackwell GPU (B200-SXM-180GB)",
    ),
    "nvidia-b300-sxm": ("b300_sxm",),
    "nvidia-gb200": ("gb200", "NVIDIA Blackwell GPU (GB200)"),
    "nvidia-gb300": ("gb300", "NVIDIA Blackwell Ultra GPU (GB300)"),
    "nvidia-rtx-pro-6000-blackwell-server": ("rtx_pro_6000_server",),
    "nvidia-l4": ("l4", "NVIDIA_L4", "NVIDIA L4"),
    "nvidia-l40s": ("l40s", "NVIDIA L40S"),
    "nvidia-l40": ("l40", "NVIDIA L40"),
    "nvidia-a10g": ("A10G", "NVIDIA A10G"),
    "nvidia-h100-nvl-94gb": ("H100 NVL", "NVIDIA H100 NVL"),
    "nvidia-rtx-a6000": ("RTX A6000", "NVIDIA RTX A6000"),
    "nvidia-rtx-6000-ada": ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation"),
    "amd-mi325x": ("MI325X", "AMD Instinct MI325X"),
    "nvidia-rtx-4090": ("NVIDIA GeForce RTX 4090 (Ada Lovelace)", "NVIDIA GeForce RTX 4090"),
    "nvidia-a30": ("NVIDIA A30",),
    "nvidia-a40": ("A40", "NVIDIA A40"),
    "nvidia-jetson-agx-orin-64gb": ("NVIDIA Jetson AGX Orin",),
    "nvidia-jetson-orin-nx-16gb": ("NVIDIA Orin NX",),
    "nvidia-t4": ("t4", "T4", "Tesla T4", "NV_T4", "NVIDIA T4"),
    "nvidia-quadro-rtx-6000": ("RTX6000",),
    "nvidia-v100-sxm2-16gb": ("v100", "V100", "NV_V100", "V100-16GB"),
    "nvidia-v100-sxm2-32gb": ("V100-32GB",),
    "nvidia-v100-pcie-32gb": ("Tesla V100-PCIE-32GB",),
    "nvidia-p100-pcie-16gb": ("P100", "NV_P100", "Tesla P100-PCIE-16GB", "Tesla_P100-PCIE-16GB"),
    "nvidia-p100-sxm2-16gb": ("P100 (DGX-1)", "P100 (Big Basin)"),
    "nvidia-tesla-p4": ("Tesla_P4",),
    "nvidia-titan-x-maxwell": ("Titan X", "NV_TitanX"),
    "nvidia-titan-x-pascal": ("NV_TitanX_Pascal",),
    "nvidia-titan-xp": ("NV_TitanXp",),
    "nvidia-k40": ("K40", "Tesla K40m"),
    "nvidia-k80": ("K80", "K80 (AWS p2.8xlarge)", "K80 (GCE n1-standard-32-k80x8)"),
    "amd-mi100": ("AMD_Instinct_MI100",),
    "amd-mi210": ("MI210", "AMD_Instinct_MI210"),
    "amd-mi250": ("AMD_Instinct_MI250",),
    "amd-mi300x": ("AMD Instinct MI300X 192GB HBM3",),
    "google-tpu-v5p": ("TPU-v5p",),
    "intel-arc-pro-b60": ("b60",),
}  # fmt: skip
"""Devices of the measured tables, with the names that the tables give them."""


def _ratio(spec, large, small):
    """Return one number of a spec over another, or None where one is unknown."""
    over, under = spec.number(large), spec.number(small)
    return over / under if over and under else None


def test_there_are_accelerators_of_every_generation_and_of_several_makers():
    assert len(NAMES) >= 50
    assert {
        "nvidia-k80", "nvidia-titan-x-maxwell", "nvidia-p100-sxm2-16gb", "nvidia-tesla-p4",
        "nvidia-v100-sxm2-16gb", "nvidia-t4", "nvidia-quadro-rtx-6000", "nvidia-rtx-2080-ti",
        "nvidia-a100-sxm-80gb", "nvidia-a10", "nvidia-a30", "nvidia-a40", "nvidia-rtx-3090",
        "nvidia-jetson-nano", "nvidia-jetson-agx-orin-64gb", "nvidia-l4", "nvidia-l40s",
        "nvidia-rtx-4090", "nvidia-h100-sxm-80gb", "nvidia-h200-sxm-141gb", "nvidia-b200-sxm",
        "nvidia-b300-sxm", "nvidia-gb200", "nvidia-gb300", "nvidia-rtx-5090",
        "nvidia-rtx-pro-6000-blackwell-server", "amd-mi100", "amd-mi210", "amd-mi250",
        "amd-mi250x", "amd-mi300x", "amd-mi355x", "google-tpu-v3", "google-tpu-v4",
        "google-tpu-v5e", "google-tpu-v5p", "google-tpu-v6e", "intel-gaudi2", "intel-gaudi3",
        "intel-arc-pro-b60", "nvidia-l40", "nvidia-a10g", "nvidia-rtx-a6000", "nvidia-rtx-6000-ada",
        "nvidia-h100-nvl-94gb", "amd-mi325x",
    } <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source_with_a_licence_or_is_an_estimate(name):
    spec = find_spec(name)
    assert set(spec.sources) == set(spec.values)
    sources = [*spec.sources.values(),
               *(source for others in spec.others.values() for _, source in others)]  # fmt: skip
    for source in sources:
        assert source.text
        assert source.licence or source.kind == "estimate"
        assert source.note or source.kind != "estimate"
        assert not re.search(r"https?:|pypi|/(work|tmp|home|root)/", source.text, re.IGNORECASE)
    assert one_line(spec).startswith(spec.title)


@pytest.mark.parametrize("name", NAMES)
def test_prices_name_their_day_or_say_that_it_is_unknown(name):
    spec = find_spec(name)
    for key in ("price.device_usd", "price.hour_usd"):
        if key in spec.values:
            assert re.search(r"\b20\d\d-\d\d|undated", spec.sources[key].note)


@pytest.mark.parametrize("name", NAMES)
def test_sparse_peaks_are_twice_the_dense_ones(name):
    spec = find_spec(name)
    for tensor in TENSOR:
        sparse = tensor.replace("tensor.", "sparse.")
        if sparse in spec.values:
            assert _ratio(spec, sparse, tensor) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_narrower_numbers_are_not_much_slower_in_the_matrix_units(name):
    spec = find_spec(name)
    for narrow, wide, least in (
        ("tensor.float16", "vector.float16", 0.5),
        ("tensor.float16", "vector.float32", 1),
        ("tensor.bfloat16", "vector.float32", 1),
        ("tensor.float16", "tensor.tfloat32", 1),
        ("tensor.float8", "tensor.bfloat16", 1),
        ("tensor.float4", "tensor.float8", 1.9),
        ("tensor.int4", "tensor.int8", 1.9),
    ):
        ratio = _ratio(spec, f"{narrow}_flop_per_s", f"{wide}_flop_per_s")
        assert ratio is None or ratio >= least


@pytest.mark.parametrize("name", NAMES)
def test_the_float32_peak_is_a_whole_number_of_operations_in_a_cycle(name):
    spec = find_spec(name)
    cycles = spec.known("sms") * spec.known("clock.boost_hz")
    lanes = spec.known("vector.float32_flop_per_s") / cycles / 128
    assert lanes == pytest.approx(round(lanes), rel=0.01)
    assert 1 <= round(lanes) <= 32


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("nvidia-")])
def test_the_float16_matrix_peak_is_a_power_of_two_in_a_cycle(name):
    spec = find_spec(name)
    if "tensor.float16_flop_per_s" in spec.values:
        clock = spec.number("clock.peak_hz") or spec.known("clock.boost_hz")
        each = spec.known("tensor.float16_flop_per_s") / spec.known("sms") / clock
        assert min(abs(each / 2**bits - 1) for bits in range(9, 14)) < 0.025


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_as_quick_as_its_pins(name):
    spec = find_spec(name)
    pins = _ratio(spec, "memory.bandwidth_bytes_per_s", "memory.bus_bits")
    if pins:
        kind = str(spec.values["memory.type"])
        low, high = (1, 10) if kind.startswith("HBM") else (3, 32)
        assert low <= pins * 8 / GB <= high


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_of_a_device_that_one_can_buy_or_rent(name):
    spec = find_spec(name)
    assert 4 * GIB <= spec.known("memory.size_bytes") <= 400 * GIB
    assert 5 <= spec.known("power.tdp_w") <= 3000
    assert 2010 <= spec.known("year") <= 2030
    assert 0.5e9 <= spec.known("clock.boost_hz") <= 3e9
    idle = spec.number("power.idle_w")
    assert idle is None or idle < spec.known("power.tdp_w") / 2
    pcie = spec.number("link.pcie_bytes_per_s")
    assert pcie is None or 1e9 <= pcie <= 500e9
    scaleup = spec.number("link.scaleup_bytes_per_s")
    assert scaleup is None or 50e9 <= scaleup <= 1000e9


def test_matrix_peaks_of_an_h100_hold_at_a_lower_clock_than_its_boost():
    spec = find_spec("nvidia-h100-sxm-80gb")
    assert spec.known("clock.peak_hz") == 1.83e9
    assert spec.known("clock.boost_hz") == 1.98e9
    assert spec.known("tensor.bfloat16_flop_per_s") == pytest.approx(132 * 4096 * 1.83e9, rel=0.001)


def test_links_count_one_direction():
    per_direction = {"nvidia-v100-sxm2-16gb": 150, "nvidia-a100-sxm-80gb": 300,
                     "nvidia-h100-sxm-80gb": 450, "nvidia-b200-sxm": 900}  # fmt: skip
    for name, gigabytes in per_direction.items():
        assert find_spec(name).known("link.scaleup_bytes_per_s") == gigabytes * GB


@pytest.mark.parametrize(
    ("name", "width"), [("amd-mi210", 256), ("amd-mi250x", 256), ("amd-mi300x", 256),
                        ("amd-mi325x", 256), ("amd-mi355x", 256)],
)  # fmt: skip
def test_amd_multiplies_float32_on_matrix_units_at_256_operations_a_cycle(name, width):
    spec = find_spec(name)
    cycles = spec.known("sms") * spec.known("clock.boost_hz")
    assert spec.known("tensor.float32_flop_per_s") / cycles == pytest.approx(width, rel=0.005)


def test_geforce_peaks_are_those_with_float32_sums():
    assert find_spec("nvidia-rtx-4090").known("tensor.float16_flop_per_s") == 165.2e12
    assert find_spec("nvidia-rtx-3090").known("tensor.float16_flop_per_s") == 71e12


@pytest.mark.parametrize(
    ("spelling", "name"), [(one, name) for name, many in SPELLINGS.items() for one in many]
)
def test_names_in_the_measured_tables_lead_to_the_device(spelling, name):
    assert find_spec(spelling).name == name
