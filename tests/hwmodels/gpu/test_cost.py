"""What predictions on accelerators cost; benchmarks, of which none fails on a clock."""

import time

import numpy as np
import pytest

from hwmodels.devices import find_device, with_fields
from hwmodels.gpu.families import costs_of
from simulator.ops import Graph, Op
from simulator.scenario import Scenario
from validation.what_if import WhatIf
from workloads.registry import find_workload

pytestmark = pytest.mark.benchmark


def accelerator(name):
    return find_device(name)


def best_s(function, repeats=5):
    """Return the time of the processor that a call takes at least."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return min(taken)


def test_a_training_step_on_every_kind_of_accelerator(report_figure):
    graph = find_workload("resnet50", batch=32, training=True).graph
    for name in ("nvidia-a100-sxm-80gb", "nvidia-h200-sxm-141gb", "amd-mi250x"):
        gpu = accelerator(name)
        first = best_s(lambda gpu=gpu: gpu.times_s(graph, 1), 1)
        cost = best_s(lambda gpu=gpu: costs_of(graph, gpu.chip, gpu.fits))
        report_figure(f"resnet50 training on {name}: {1e3 * cost:.2f} ms for {len(graph)} ops; "
                      f"{1e3 * first:.1f} ms where its fits are read first")  # fmt: skip


def test_ten_thousand_products(report_figure):
    rng = np.random.default_rng(1)
    ops = [
        Op(kind="gemm", dims=(1, *map(int, size)), dtype="bfloat16", flops=2.0 * size.prod())
        for size in rng.integers(1, 8192, (10_000, 3))
    ]
    graph, gpu = Graph.of(ops, [[] for _ in ops]), accelerator("nvidia-h100-sxm-80gb")
    gpu.times_s(graph, 1)
    cost = best_s(lambda: costs_of(graph, gpu.chip, gpu.fits))
    report_figure(f"10,000 products: {1e3 * cost:.0f} ms")


def test_ten_thousand_what_ifs(report_figure):
    base = Scenario(workload="mlp", on="nvidia-a100-sxm-80gb")
    points = [base.changed({"workload.batch": 1 + at % 500}) for at in range(10_000)]
    WhatIf().many(points[:1])
    by_batch = best_s(lambda: WhatIf().many(points), 2)
    device = find_device(base.on)
    one = find_workload("mlp").graph
    field = "memory.bandwidth_bytes_per_s"
    changed = best_s(lambda: with_fields(device, {field: 1e12}).times_s(one, 1), 20)
    report_figure(f"10,000 what-ifs of 500 batches: {by_batch:.2f} s; with another field each: "
                  f"{1e4 * changed:.1f} s")  # fmt: skip
