"""Compressed gradients: what is computed and sent, and when it pays."""

from __future__ import annotations

import pytest

from simulator.actions import Group
from simulator.check_plan import check_plan
from simulator.errors import InputError, UnknownNameError
from simulator.ideal import IdealDevice, ideal_machine
from simulator.simulate import simulate
from simulator.workload import Buffer
from tests.workloads.plans.machines import (
    ALPHA,
    BANDWIDTH,
    INSTANT,
    SIZE,
    STEP,
    contended,
    ideal,
    seconds,
)
from workloads.plans import DataParallel
from workloads.plans.compression import METHODS, Compression, code_of

COUNT = 1_000_000
BUCKET = Buffer("bucket0", 4.0 * COUNT)
RANKS = 4


def sent(method, ranks=RANKS, **kwargs):
    """Return the kinds of collectives and the bytes that one rank adds to each."""
    stages = code_of(Compression(method, **kwargs), BUCKET, ranks).stages
    return [
        (stage.kind, stage.buffer.nbytes / (ranks if stage.kind == "all_gather" else 1))
        for stage in stages
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("devices", [1, 2, 5])
def test_compression_keeps_the_contract_of_plans(method, devices):
    assert check_plan(DataParallel(compression=method), devices).verdict == "fine"


def test_bytes_are_those_of_the_codes():
    assert sent("float16") == [("all_reduce", 2 * COUNT)]
    assert sent("int8") == [("all_gather", COUNT + 4)]
    assert sent("sign") == [("all_gather", COUNT / 8 + 4)]
    assert sent("top-k", share=0.01) == [("all_gather", 10_000 * 8)]
    assert sent("low-rank", rank=2) == [("all_reduce", 4 * 1000 * 2)] * 2


def test_what_does_not_add_up_is_gathered_so_that_bytes_grow_with_the_ranks():
    for method in METHODS:
        few, many = (code_of(Compression(method), BUCKET, n).stages[0].buffer.nbytes
                     for n in (2, 64))  # fmt: skip
        assert many / few == (1 if method in ("float16", "low-rank") else 32)


def test_low_rank_computes_two_products_and_a_third_to_decode():
    code = code_of(Compression("low-rank", rank=4), BUCKET, RANKS)
    products = 2 * 2.0 * 1000 * 1000 * 4
    encoding = sum(float(stage.encode.graph.flops.sum()) for stage in code.stages)
    orthogonalizing = 2 * 2 * 1000 * 16
    assert encoding == pytest.approx(products + orthogonalizing + COUNT)
    assert code.decode.graph.flops[0] == products / 2


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_one_bucket_is_the_plain_one_with_works_and_another_collective(method):
    """One bucket is ready last, so that nothing overlaps."""

    def step(plan):
        return simulate(STEP, machine, plan).step_time_s

    machine = ideal(RANKS)
    network = machine.network
    plain = DataParallel(bucket_bytes=SIZE)
    code = code_of(Compression(method), Buffer("bucket0", SIZE), RANKS)
    everyone = Group.of(range(RANKS))
    saved = network.collective_s("all_reduce", SIZE, everyone)
    spent = seconds(code.decode) + sum(
        seconds(one.encode) + network.collective_s(one.kind, one.buffer.nbytes, everyone)
        for one in code.stages
    )
    compressed = DataParallel(bucket_bytes=SIZE, compression=method)
    assert step(compressed) - step(plain) == pytest.approx(spent - saved, rel=1e-6)


def test_compression_pays_below_a_rate_of_the_link_and_costs_above_it():
    """Where the bytes saved take as long as the works: here by a share of 1 %."""

    def gain(bandwidth):
        machine = ideal_machine(4, device=IdealDevice(1e10), bandwidth_bytes_per_s=bandwidth)
        plain, compressed = (
            simulate(STEP, machine, DataParallel(bucket_bytes=SIZE, compression=method)).step_time_s
            for method in ("none", "top-k")
        )
        return plain - compressed

    gains = [gain(rate) for rate in (1e8, 1e9, 1e10, 1e11, 1e12)]
    assert gains[0] > 0 > gains[-1]
    assert gains == sorted(gains, reverse=True)


def test_free_works_leave_the_bytes():
    def step(method):
        plan = DataParallel(bucket_bytes=SIZE, compression=method)
        return simulate(STEP, contended(4, INSTANT), plan).step_time_s

    assert step("float16") < 0.6 * step("none")
    assert step("sign") == pytest.approx(3 * SIZE / 32 / BANDWIDTH, abs=3 * ALPHA)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(InputError, match=r"share must lie in \(0, 1\]"):
        DataParallel(compression="top-k", share=share)


def test_unknown_methods_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'top-k'"):
        DataParallel(compression="topk")
    with pytest.raises(InputError, match="factor_rank: expected a whole number of at least 1"):
        DataParallel(compression="low-rank", factor_rank=0)
