"""What work an op is: families, amounts and sizes."""

import numpy as np
import pytest

from hwmodels.cpu_forms import FORMS, SIZES, features_of
from simulator.ops import DIMS, KINDS, Graph, Op


def family(one, threads=1):
    """Return the name of the family of one op."""
    return features_of(Graph.of([one]), threads).families[0].name


def conv(batch=16, channels=32, image=8, made=32, kernel=3, out=None, groups=1):
    out = out or image
    kind = "depthwise_conv2d" if groups == channels else "conv2d"
    flops = 2.0 * batch * out**2 * made * channels // groups * kernel**2
    dims = (batch, channels, image, image, made, out, out, kernel, kernel, groups)
    return Op(kind=kind, name="convolution", dims=dims, flops=flops)


def test_every_kind_has_a_form_with_few_sizes():
    plain = {name.split("-")[0] for name in FORMS}
    assert plain == set(KINDS)
    assert all(len(form.sizes) <= SIZES for form in FORMS.values())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "conv2d"])
def test_each_kind_gives_finite_positive_work(kind):
    one = Op(kind=kind, dims=(4,) * len(DIMS[kind]), flops=8.0, bytes_read=64.0)
    found = features_of(Graph.of([one]))
    assert found.amount[0] >= 1
    assert (found.sizes >= 1).all()


def test_working_in_place_is_a_family_of_its_own():
    assert family(Op(kind="elementwise", name="add_", dims=(8,))) == "add_"


def test_kernels_of_one_name_differ_by_dtype():
    graph = Graph.of([Op(kind="elementwise", name="add", dims=(8,), dtype=dtype)
                      for dtype in ("float32", "bfloat16", "float32")])  # fmt: skip
    found = features_of(graph)
    assert found.family[0] == found.family[2] != found.family[1]


@pytest.mark.parametrize(
    ("one", "threads", "way"),
    [
        (conv(), 1, "direct"),
        (conv(kernel=1), 1, "point"),
        (conv(batch=4, kernel=1), 1, "gemm"),
        (conv(batch=4, kernel=1), 2, "point"),
        (conv(batch=1), 1, "gemm"),
        (conv(batch=1, image=64), 1, "direct"),
        (conv(batch=4, kernel=1, image=8, out=4), 1, "point"),
        (conv(batch=1, kernel=5), 1, "direct"),
    ],
)
def test_convolutions_go_the_way_that_the_framework_chooses(one, threads, way):
    assert family(one, threads) == f"convolution-{way}"


def test_a_depthwise_convolution_is_a_family_of_its_own():
    found = features_of(Graph.of([conv(groups=32)]))
    assert found.families[0].form == "depthwise_conv2d"


def test_channels_are_padded_to_blocks_except_few_inputs():
    padded, full, image = conv(channels=20), conv(channels=32), conv(channels=3)
    amounts = features_of(Graph.of([padded, full, image])).amount
    assert amounts[0] == pytest.approx(padded.flops * 32 / 20)
    assert amounts[1] == full.flops
    assert amounts[2] == image.flops


@pytest.mark.parametrize(("m", "n", "way"), [(1, 64, "mm-flat"), (64, 3, "mm-thin"), (4, 4, "mm")])
def test_products_with_few_rows_or_columns_are_apart(m, n, way):
    assert family(Op(kind="gemm", name="mm", dims=(1, m, n, 64))) == way


def test_batch_norm_with_own_statistics_is_training():
    dims, size = (8, 100), 8 * 100 * 4.0
    given = Op(kind="normalization", name="native_batch_norm", dims=dims, allocated_bytes=size)
    own = Op(kind="normalization", name="native_batch_norm", dims=dims, allocated_bytes=size + 64)
    assert family(given) == "native_batch_norm-eval"
    assert family(own) == "native_batch_norm-train"


def test_topk_sorts_partially_where_few_are_wanted():
    def top(wanted):
        return Op(kind="sort", name="topk", dims=(2, 1000), bytes_written=2 * wanted * 12.0)

    assert family(top(10)) == "topk-partial"
    assert family(top(100)) == "topk"


def test_lookups_of_single_elements_are_apart():
    assert family(Op(kind="scatter", name="index_add_", dims=(9, 1, 4))) == "index_add_-single"
    assert family(Op(kind="scatter", name="index_add_", dims=(9, 8, 4))) == "index_add_"


def test_small_work_is_for_one_thread_and_large_for_many():
    graph = Graph.of([
        Op(kind="elementwise", dims=(1,), bytes_written=4.0 * 32_768),
        Op(kind="elementwise", dims=(1,), bytes_written=4.0 * 32_768 * 2.5),
        Op(kind="gemm", dims=(1, 8, 8, 8), flops=1000.0),
        Op(kind="gemm", dims=(1, 100, 100, 100), flops=2e6),
    ])  # fmt: skip
    assert features_of(graph).team.tolist() == [1, 3, 1, 10]


def test_features_are_found_once_for_a_graph():
    graph = Graph.of([conv()])
    assert features_of(graph) is features_of(graph)
    assert features_of(graph, 2) is features_of(graph, 8)
    assert features_of(graph) is not features_of(graph, 2)


def test_an_empty_graph_has_no_families():
    found = features_of(Graph.of([]))
    assert found.families == ()
    np.testing.assert_array_equal(found.amount, [])
