"""Every device of the catalog meets the contract of a device, with a source on every number."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import simpy

from hwmodels.devices import device_names, find_device, find_spec, list_devices, one_line
from hwmodels.roofline import roofline_s
from hwmodels.schema import CPU, SCHEMAS
from simulator.ops import Graph, Op
from simulator.protocols import Calibrated, Device
from simulator.workload import Work

CATALOG = Path(__file__).resolve().parents[2] / "hwmodels" / "catalog"
CPUS = tuple(sorted(path.stem for path in (CATALOG / "cpu").glob("*.toml")))
STEP = Graph.of(
    [
        Op(kind="gemm", dims=(1, 512, 512, 512), flops=2 * 512**3, bytes_read=2e6,
           bytes_written=1e6),
        Op(kind="elementwise", dims=(10**7,), flops=1e7, bytes_read=8e7, bytes_written=4e7),
        Op(kind="elementwise", dims=(10,), flops=10, bytes_read=80, bytes_written=40),
    ]
)  # fmt: skip


def test_there_are_laptops_desktops_servers_boards_and_cloud_machines():
    assert {
        "apple-m1", "amd-ryzen-7950x", "intel-core-i7-8700k", "intel-xeon-e5-2686-v4",
        "intel-xeon-platinum-8275cl", "intel-xeon-platinum-8380", "amd-epyc-7742", "amd-epyc-9654",
        "aws-graviton3", "ampere-altra-q80-30", "rpi4-bcm2711",
        "aws-r4-16xlarge", "aws-r4-8xlarge", "aws-r3-8xlarge", "aws-x1-32xlarge", "aws-c5-metal",
        "aws-c5a-24xlarge", "aws-c7a-metal-48xl", "aws-c7i-metal-48xl", "aws-m7i-24xlarge",
    } <= set(CPUS)  # fmt: skip


@pytest.mark.parametrize("name", CPUS)
def test_every_number_has_a_source_with_a_licence_or_is_an_estimate(name):
    spec = find_spec(name)
    assert set(spec.sources) == set(spec.values)
    for source in spec.sources.values():
        assert source.text
        assert source.licence or source.kind == "estimate"
        assert source.note or source.kind != "estimate"


@pytest.mark.parametrize("name", CPUS)
def test_every_device_meets_the_contract_of_a_device(name):
    device = find_device(name)
    assert isinstance(device, Device)
    assert isinstance(device, Calibrated)
    for threads in {1, device.max_threads // 2 or 1, device.max_threads}:
        times = device.times_s(STEP, threads)
        assert times.shape == (3,)
        assert np.isfinite(times).all()
        assert (times > 0).all()
        clock = simpy.Environment()
        running = device.open(clock).run(Work("step", STEP), threads)
        clock.run(running.done)
        assert clock.now == pytest.approx(times.sum(), rel=1e-9)
    assert device.sources
    assert one_line(find_spec(name)).startswith(find_spec(name).title)


@pytest.mark.parametrize("name", CPUS)
def test_no_device_is_quicker_than_its_datasheet(name):
    device = find_device(name)
    assert (device.times_s(STEP, 1) >= roofline_s(STEP, device, 1) * (1 - 1e-9)).all()


@pytest.mark.parametrize("name", CPUS)
def test_figures_of_a_device_are_plausible_together(name):
    spec = find_spec(name)
    bandwidth, channels = spec.known("memory.bandwidth_bytes_per_s"), spec.number("memory.channels")
    if channels:
        assert 5e9 <= bandwidth / channels <= 60e9
    width, fp32 = spec.number("simd.width_bits"), spec.known("flops_per_cycle.float32")
    if width:
        assert 1 <= fp32 / (width / 32) <= 8
    assert fp32 == 2 * (spec.number("flops_per_cycle.float64") or fp32 / 2)
    tdp = spec.number("power.tdp_w")
    if tdp:
        assert 0.5 <= tdp / spec.known("cores") <= 25


def test_machines_of_the_multicore_suite_have_the_cores_that_it_lists():
    threads = {name: find_device(name).max_threads for name in CPUS if name.startswith("aws-")}
    assert threads["aws-r4-16xlarge"] == 64
    assert threads["aws-r4-8xlarge"] == threads["aws-r3-8xlarge"] == 32
    assert threads["aws-x1-32xlarge"] == 128
    assert threads["aws-c5-metal"] == threads["aws-c5a-24xlarge"] == 96
    assert threads["aws-c7i-metal-48xl"] == threads["aws-c7a-metal-48xl"] == 192
    assert threads["aws-m7i-24xlarge"] == 96


def test_aliases_lead_to_devices_and_hide_none():
    aliases = tomllib.loads((CATALOG / "aliases.toml").read_text(encoding="utf-8"))
    assert set(aliases.values()) <= set(device_names())
    assert not set(aliases) & set(device_names())


def test_the_list_has_a_kind_and_a_line_for_each():
    listed = list_devices()
    assert [one.name for one in listed] == list(device_names())
    assert {one.kind for one in listed} <= set(SCHEMAS)
    assert all(one.line for one in listed)


def test_every_field_says_what_it_means_and_in_which_unit():
    for key, field in CPU.fields.items():
        assert field.doc
        assert field.text or field.low < field.high
        assert key == field.key
