"""What a kernel costs follows from its shapes; where torch counts operations too, they agree."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.ops import DIMS
from workloads.kernels import FORMULAS, Call, Operand, cost_of, formula
from workloads.tape import FORMULA_MODULES

sizes = st.integers(1, 9)


def operand(*shape, dtype="float32"):
    return Operand(shape, dtype, 4.0 * prod(shape))


def cost(name, inputs, outputs=(), **options):
    found, known = cost_of(Call(name, tuple(inputs), tuple(outputs), options))
    assert known
    assert len(found.dims) == len(DIMS[found.kind])
    return found


def test_the_table_is_filled():
    assert all(module.__doc__ for module in FORMULA_MODULES)
    assert len(FORMULAS) > 200


@given(sizes, sizes, sizes, sizes)
def test_products_take_two_operations_a_multiply_add(batch, m, n, k):
    left, right = operand(m, k), operand(k, n)
    assert cost("mm", [left, right]).flops == 2 * m * n * k
    assert cost("addmm", [operand(n), left, right]).dims == (1, m, n, k)
    batched = [operand(batch, m, k), operand(batch, k, n)]
    assert cost("bmm", batched).flops == 2 * batch * m * n * k
    assert cost("baddbmm", [operand(batch, m, n), *batched]).dims == (batch, m, n, k)
    assert cost("mv", [operand(m, k), operand(k)]).flops == 2 * m * k
    assert cost("dot", [operand(k), operand(k)]).flops == 2 * k


@given(sizes, sizes, sizes, st.integers(1, 3), st.booleans())
def test_convolutions_count_each_position_times_the_kernel(batch, half, side, kernel, grouped):
    channels, groups = 2 * half, 2 if grouped else 1
    data, out = operand(batch, channels, side + 2, side + 2), operand(batch, 4, side, side)
    weight = operand(4, channels // groups, kernel, kernel)
    once = cost("convolution", [data, weight], [out], groups=groups)
    assert once.flops == 2 * prod(out.shape) * (channels // groups) * kernel**2
    for mask, times in (((True, True, False), 2), ((False, True, True), 1),
                        ((True, False, False), 1)):  # fmt: skip
        back = cost("convolution_backward", [out, data, weight], [], groups=groups,
                    output_mask=mask)  # fmt: skip
        assert (back.flops, back.dims) == (times * once.flops, once.dims)


def test_a_convolution_of_each_channel_alone_is_depthwise():
    data, weight = operand(1, 8, 4, 4), operand(8, 1, 3, 3)
    assert cost("convolution", [data, weight], [data], groups=8).kind == "depthwise_conv2d"
    assert cost("convolution", [data, operand(8, 8, 3, 3)], [data], groups=1).kind == "conv2d"
    one = operand(1, 1, 4, 4)
    assert cost("convolution", [one, operand(4, 1, 3, 3)], [one], groups=1).kind == "conv2d"


def test_a_transposed_convolution_counts_its_inputs_positions():
    data, weight, out = operand(1, 3, 5, 5), operand(3, 4, 2, 2), operand(1, 4, 10, 10)
    found = cost("convolution", [data, weight], [out], groups=1, transposed=True)
    assert found.flops == 2 * 25 * 3 * 4 * 4


def test_a_convolution_along_one_or_three_axes_is_one_of_two():
    line = cost("convolution", [operand(2, 3, 9), operand(4, 3, 2)], [operand(2, 4, 8)], groups=1)
    assert line.dims == (2, 3, 1, 9, 4, 1, 8, 1, 2, 1)
    solid = cost("convolution", [operand(2, 3, 4, 5, 6), operand(4, 3, 2, 2, 2)],
                 [operand(2, 4, 3, 4, 5)], groups=1)  # fmt: skip
    assert solid.flops == 2 * 2 * 60 * 4 * 3 * 8


@given(sizes, sizes, sizes, sizes, sizes)
def test_attention_is_two_products_forward_and_five_backward(batch, heads, rows, keys, width):
    query, key = operand(batch, heads, rows, width), operand(batch, heads, keys, width)
    name = "_scaled_dot_product_flash_attention_for_cpu"
    forward = cost(name, [query, key, key], is_causal=True)
    assert forward.flops == 4 * batch * heads * rows * keys * width
    assert forward.dims == (batch, heads, rows, keys, width, 1)
    backward = cost(name + "_backward", [query, query, key, key, query], is_causal=False)
    assert backward.flops == 2.5 * forward.flops


@given(sizes, sizes, sizes, sizes)
def test_an_lstm_layer_multiplies_input_and_state_by_four_gates(steps, batch, features, hidden):
    inputs = [operand(steps, batch, features), operand(4 * hidden, features),
              operand(4 * hidden, hidden)]  # fmt: skip
    forward = cost("mkldnn_rnn_layer", inputs)
    assert forward.flops == 2 * steps * batch * 4 * hidden * (features + hidden)
    assert forward.dims == (steps, batch, features, hidden, 4)
    assert cost("mkldnn_rnn_layer_backward", inputs).flops == 2 * forward.flops


def test_gathers_read_only_the_rows_that_are_asked_for():
    table, index = operand(1000, 8), operand(5, dtype="int64")
    found = cost("embedding", [table, index], [operand(5, 8)])
    assert (found.dims, found.reads) == ((5, 8, 1000), (160, 20))
    picked = cost("index", [table, index], [operand(5, 8)])
    assert (picked.dims, picked.reads) == (found.dims, found.reads)


def test_scatters_in_place_touch_only_the_rows_that_they_change():
    table, index, rows = operand(1000, 8), operand(5, dtype="int64"), operand(5, 8)
    found = cost("index_add_", [table, index, rows], [table])
    assert (found.reads, found.written) == ((160, 20, 160), 160)
    fresh = cost("index_add", [table, index, rows], [table])
    assert (fresh.reads, fresh.written) == ((32_000, 20, 160), None)


def test_the_loss_reads_one_score_a_row_and_its_gradient_none():
    scores, target, scalar = operand(6, 10), operand(6, dtype="int64"), operand()
    found = cost("nll_loss_forward", [scores, target], [scalar, scalar])
    assert found.reads == (24, 24)
    back = cost("nll_loss_backward", [scalar, scores, target, scalar], [scores])
    assert back.reads == (4, 0, 24, 4)


def test_fills_and_random_numbers_only_write_and_allocations_not_even_that():
    for name in ("zero_", "bernoulli_", "ones_like"):
        found = cost(name, [operand(7)], [operand(7)])
        assert (found.reads, found.written) == ((0,), None)
    assert cost("empty_like", [operand(7)], [operand(7)]).written == 0


def test_reductions_softmax_sort_and_pools_know_their_rows():
    assert cost("sum", [operand(6, 5)], [operand(1, 5)]).dims == (30, 5)
    assert cost("_softmax", [operand(2, 3, 7)], [], dim=1).dims == (14, 3)
    assert cost("topk", [operand(6, 50)], [], dim=1).dims == (6, 50)
    assert cost("native_batch_norm", [operand(2, 3, 4, 4)]).dims == (3, 32)
    assert cost("native_layer_norm", [operand(2, 3, 8)], [operand(2, 3, 1)]).dims == (6, 8)
    pooled = cost("max_pool2d_with_indices", [operand(1, 2, 9, 9)], [operand(1, 2, 3, 3)],
                  kernel_size=(3, 3))  # fmt: skip
    assert pooled.dims == (18, 9)
    assert cost("avg_pool2d", [], [operand(2, 2)], kernel_size=(2,)).dims == (4, 4)


def test_a_kernel_in_place_costs_as_its_plain_one():
    assert cost("mul_", [operand(3)], [operand(3)]) == cost("mul", [operand(3)], [operand(3)])


def test_an_unknown_kernel_is_elementwise_or_a_copy_and_said_to_be_unknown():
    found, known = cost_of(Call("mystery", (operand(3),), (operand(4),), {}))
    assert (found.kind, found.dims, found.flops, known) == ("elementwise", (4,), 0, False)
    index = operand(3, dtype="int64")
    assert cost_of(Call("mystery", (index,), (index,), {}))[0].kind == "copy"


def test_a_second_formula_for_a_kernel_is_refused():
    with pytest.raises(InputError, match="kernel 'mm' has a formula already: matrix_product"):
        formula("mm")(lambda call: cost_of(call)[0])


def test_arithmetic_agrees_with_torchs_counter_where_that_knows_the_kernel():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from validation.torch_twins import twin
    from workloads.registry import find_workload

    # Of grouped convolutions torch counts the weight's gradient as if they had no groups.
    for name, training, small in (
        ("mlp", True, {}),
        ("lenet5", True, {}),
        ("resnet18", True, {"image": 64, "width": 8}),
        ("mobilenet-v2", False, {"image": 64}),
    ):
        workload = find_workload(name, batch=2, training=training, **small)
        with FlopCounterMode(display=False) as counter, torch.random.fork_rng():
            twin(workload).step()
        assert counter.get_total_flops() == workload.graph.flops.sum(), name
