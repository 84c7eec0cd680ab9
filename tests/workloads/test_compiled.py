"""Fused graphs: what a compiler joins, and what passes between."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.ops import Graph, Op
from workloads.compiled import fused
from workloads.registry import find_workload


def maps(elements=100, kind="elementwise", reads=1):
    dims = (elements // 10, 10) if kind in ("softmax", "normalization") else (elements,)
    return Op(kind=kind, dims=dims, bytes_read=4.0 * elements * reads,
              bytes_written=4.0 * elements)  # fmt: skip


def product(elements=100):
    return Op(kind="gemm", dims=(1, 10, 10, 10), flops=2e3, bytes_read=8.0 * elements,
              bytes_written=4.0 * elements)  # fmt: skip


def test_a_chain_of_maps_reads_and_writes_once():
    graph = fused(Graph.of([maps()] * 5, [{}, *({at: 400.0} for at in range(4))]))
    assert len(graph) == 1
    assert graph.bytes_moved.tolist() == [800.0]


def test_a_result_that_another_kernel_reads_is_written_too():
    ops = [maps(), maps(), product()]
    graph = fused(Graph.of(ops, [{}, {0: 400.0}, {0: 400.0}]))
    assert [op.kind for op in graph] == ["elementwise", "gemm"]
    assert graph.bytes_written[0] == 800.0


def test_scale_and_mask_disappear_in_the_softmax_that_they_feed():
    ops = [product(), maps(), maps(), maps(kind="softmax"), product()]
    graph = fused(Graph.of(ops, [{}, *({at: 400.0} for at in range(4))]))
    assert [op.kind for op in graph] == ["gemm", "softmax", "gemm"]
    assert graph.bytes_moved[1] == 800.0
    assert graph.flops.sum() == 4e3


def test_two_kernels_that_sum_up_rows_stay_two():
    ops = [maps(kind="softmax"), maps(kind="normalization")]
    assert len(fused(Graph.of(ops, [{}, {0: 400.0}]))) == 2


def test_maps_around_a_product_stay_apart():
    # The second map needs the product, which needs the first.
    ops = [maps(), product(), maps(reads=2)]
    graph = fused(Graph.of(ops, [{}, {0: 400.0}, {0: 400.0, 1: 400.0}]))
    assert len(graph) == 3


def test_maps_of_other_sizes_stay_apart():
    assert len(fused(Graph.of([maps(), maps(200)], [{}, {0: 400.0}]))) == 2


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_graph_stays_in_order_and_moves_no_more(data):
    kinds = st.sampled_from(["elementwise", "softmax", "normalization", "gemm"])
    count = data.draw(st.integers(1, 12))
    ops = [product() if kind == "gemm" else maps(kind=kind)
           for kind in data.draw(st.lists(kinds, min_size=count, max_size=count))]  # fmt: skip
    deps = [data.draw(st.dictionaries(st.integers(0, at - 1), st.just(100.0), max_size=3))
            if at else {} for at in range(count)]  # fmt: skip
    graph = Graph.of(ops, deps)
    joined = fused(graph)
    owner = np.repeat(np.arange(len(joined)), np.diff(joined.dep_start))
    assert (joined.dep < owner).all()
    assert joined.flops.sum() == graph.flops.sum()
    assert joined.bytes_moved.sum() <= graph.bytes_moved.sum()


def test_a_model_says_that_it_is_compiled_and_only_for_inference():
    plain = find_workload("hf-gpt2", layers=1)
    compiled = find_workload("hf-gpt2", layers=1, compiled=True)
    assert compiled.parameters["compiled"]
    assert len(compiled.graph) < 0.7 * len(plain.graph)
    assert compiled.weight_count == plain.weight_count
    with pytest.raises(InputError, match="hf-gpt2: only inference can be compiled"):
        find_workload("hf-gpt2", layers=1, compiled=True, training=True)
