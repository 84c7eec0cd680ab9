"""Formulas of the kernels that only move and map data: elementwise, reductions, gathers, sorts.

Their arithmetic counts 0 (see `kernel_flops`); what matters is their kind, sizes and traffic.
"""

from __future__ import annotations

from math import prod

from workloads.kernels import FORMULAS, Call, Cost, formula

ELEMENTWISE = (
    "abs", "acos", "add", "addcdiv", "addcmul", "asin", "atan", "atan2", "bitwise_and",
    "bitwise_not", "bitwise_or", "bitwise_xor", "ceil", "celu", "clamp", "clamp_max", "clamp_min",
    "copysign", "cos", "cosh", "div", "elu", "elu_backward", "eq", "erf", "erfc", "exp", "exp2",
    "expm1", "floor", "floor_divide", "fmod", "frac", "ge", "gelu", "gelu_backward",
    "gelu_tanh", "gelu_tanh_backward", "glu",
    "glu_backward", "gt", "hardsigmoid", "hardsigmoid_backward", "hardswish",
    "hardswish_backward", "hardtanh", "hardtanh_backward", "isfinite", "isinf", "isnan",
    "le", "leaky_relu", "leaky_relu_backward", "lerp", "log", "log10", "log1p", "log2",
    "log_sigmoid_backward", "log_sigmoid_forward", "logical_and", "logical_not", "logical_or",
    "lt", "masked_fill", "maximum", "minimum", "mish", "mish_backward", "mse_loss_backward",
    "mul", "ne", "neg", "pow", "reciprocal", "relu", "relu6", "remainder", "round", "rsqrt",
    "rsub", "sgn", "sigmoid", "sigmoid_backward", "sign", "silu", "silu_backward", "sin", "sinh",
    "smooth_l1_loss_backward", "softplus", "softplus_backward", "sqrt", "square", "sub", "tan",
    "tanh", "tanh_backward", "threshold", "threshold_backward", "tril", "triu", "trunc", "where",
    "xlogy", "huber_loss_backward", "binary_cross_entropy_backward", "_prelu_kernel",
    "_prelu_kernel_backward", "native_dropout_backward", "upsample_nearest2d",
    "upsample_nearest2d_backward", "upsample_bilinear2d", "upsample_bilinear2d_backward",
    "bucketize", "polar",
)  # fmt: skip
REDUCTIONS = (
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "binary_cross_entropy",
    "count_nonzero", "cumprod", "cumsum", "equal", "huber_loss", "linalg_vector_norm", "logsumexp",
    "max", "mean", "min", "mse_loss", "norm", "prod", "smooth_l1_loss", "std", "std_mean", "sum",
    "var", "var_mean",
)  # fmt: skip
COPIES = (
    "_to_copy", "to", "arange", "as_strided_copy", "cat", "clone", "constant_pad_nd",
    "constant_pad_nd_backward", "eye", "flip", "linspace", "reflection_pad2d", "repeat", "roll",
    "scalar_tensor", "stack", "_local_scalar_dense", "view_as_complex_copy",
    "repeat_interleave", "im2col", "col2im", "permute_copy", "pixel_shuffle",
    "pixel_unshuffle", "channel_shuffle", "slice_scatter", "select_scatter",
)  # fmt: skip
FILLS = (
    "fill", "full", "full_like", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "zero",
    "zeros", "zeros_like", "fill_", "zero_",
)  # fmt: skip
ALLOCATIONS = (
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_",
    "empty_permuted",
)  # fmt: skip
RANDOM = (
    "bernoulli_", "exponential_", "normal_", "rand", "rand_like", "randint", "randint_like",
    "randn", "randn_like", "random_", "randperm", "uniform_",
)  # fmt: skip


def _none(call: Call) -> tuple[float, ...]:
    return (0.0,) * len(call.inputs)


@formula(*ELEMENTWISE)
def elementwise(call: Call) -> Cost:
    """Cost a map over all elements of the result."""
    return Cost("elementwise", (call.outputs[0].elements,))


def foreach(call: Call) -> Cost:
    """Cost a map over all elements of lists of tensors."""
    return Cost("elementwise", (sum(one.elements for one in call.outputs),))


for _name in ("add", "addcdiv", "addcmul", "div", "lerp", "mul", "neg", "sqrt", "sub", "pow"):
    FORMULAS["_foreach_" + _name] = foreach
for _name in ("sgd", "adam", "adamw", "adagrad"):
    FORMULAS[f"_fused_{_name}_"] = foreach


@formula(*REDUCTIONS)
def reduction(call: Call) -> Cost:
    """Cost a reduction of all elements of the first input to those of the first output."""
    outputs = call.outputs[0].elements if call.outputs else 1
    return Cost("reduction", (call.inputs[0].elements, outputs))


@formula(*COPIES)
def copy(call: Call) -> Cost:
    """Cost a copy of all inputs to the result."""
    return Cost("copy", (call.outputs[0].elements if call.outputs else 1,))


@formula("copy_")
def copy_in_place(call: Call) -> Cost:
    """Cost a copy of the second input over the first."""
    return Cost("copy", (call.inputs[0].elements,), reads=(0.0, call.inputs[1].nbytes))


@formula(*FILLS)
def fill(call: Call) -> Cost:
    """Cost writing a constant to the result."""
    return Cost("copy", (call.outputs[0].elements,), reads=_none(call))


@formula(*ALLOCATIONS)
def allocation(call: Call) -> Cost:
    """Cost memory that is asked for and not touched."""
    return Cost("copy", (0,), reads=_none(call), written=0.0)


@formula(*RANDOM)
def random(call: Call) -> Cost:
    """Cost drawing each element of the result."""
    return Cost("random", (call.outputs[0].elements,), reads=_none(call))


@formula("native_dropout", "bernoulli", "multinomial")
def random_from(call: Call) -> Cost:
    """Cost drawing each element of the result from what the input says."""
    return Cost("random", (call.outputs[0].elements,))


@formula("slice_backward", "select_backward")
def place(call: Call) -> Cost:
    """Cost a result of zeros with the input in one part of it."""
    return Cost("copy", (call.outputs[0].elements,))


@formula("native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update",
         "_native_batch_norm_legit_no_training", "native_batch_norm_backward",
         "batch_norm_backward")  # fmt: skip
def batch_norm(call: Call) -> Cost:
    """Cost a normalization of each channel over batch and places."""
    shape = call.inputs[0].shape
    return Cost("normalization", (shape[1], prod(shape) // max(shape[1], 1)))


@formula("native_layer_norm", "native_group_norm", "_fused_rms_norm")
def layer_norm(call: Call) -> Cost:
    """Cost a normalization with one statistic (the last output) for each row."""
    return _rows(call, call.outputs[-1].elements)


@formula("native_layer_norm_backward", "native_group_norm_backward",
         "_fused_rms_norm_backward")  # fmt: skip
def layer_norm_backward(call: Call) -> Cost:
    """Cost the gradient of a normalization whose statistics are the third input."""
    return _rows(call, call.inputs[2].elements)


def _rows(call: Call, rows: int) -> Cost:
    return Cost("normalization", (rows, call.inputs[0].elements // max(rows, 1)))


@formula("_softmax", "_log_softmax", "_safe_softmax", "_softmax_backward_data",
         "_log_softmax_backward_data")  # fmt: skip
def softmax(call: Call) -> Cost:
    """Cost a softmax (or its gradient) over one axis."""
    shape = call.inputs[0].shape
    columns = shape[call.options.get("dim", -1)] if shape else 1
    return Cost("softmax", (prod(shape) // max(columns, 1), columns))


@formula("nll_loss_forward", "nll_loss2d_forward")
def nll_loss(call: Call) -> Cost:
    """Cost picking and averaging one log-probability for each target."""
    given, target = call.inputs[:2]
    picked = given.nbytes / max(given.shape[-1 if len(given.shape) == 1 else 1], 1)
    return Cost("reduction", (target.elements, 1),
                reads=(picked, *(one.nbytes for one in call.inputs[1:])))  # fmt: skip


@formula("nll_loss_backward", "nll_loss2d_backward")
def nll_loss_backward(call: Call) -> Cost:
    """Cost a result of zeros with one number for each target; the scores are not read."""
    reads = tuple(0.0 if at == 1 else one.nbytes for at, one in enumerate(call.inputs))
    return Cost("elementwise", (call.outputs[0].elements,), reads=reads)


@formula("max_pool2d_with_indices", "avg_pool2d", "max_pool3d_with_indices", "avg_pool3d")
def pool(call: Call) -> Cost:
    """Cost reducing a window for each element of the result."""
    return Cost("pool", (call.outputs[0].elements, _window(call)))


@formula("max_pool2d_with_indices_backward", "avg_pool2d_backward",
         "max_pool3d_with_indices_backward", "avg_pool3d_backward")  # fmt: skip
def pool_backward(call: Call) -> Cost:
    """Cost dealing the gradient of each window; only the shape of the pooled is used."""
    reads = tuple(0.0 if at == 1 else one.nbytes for at, one in enumerate(call.inputs))
    return Cost("pool", (call.inputs[0].elements, _window(call)), reads=reads)


def _window(call: Call) -> int:
    kernel = call.options["kernel_size"]
    axes = 3 if "pool3d" in call.name else 2
    return int(prod(kernel)) if len(kernel) > 1 else int(kernel[0]) ** axes


@formula("_adaptive_avg_pool2d", "adaptive_max_pool2d")
def adaptive_pool(call: Call) -> Cost:
    """Cost reducing windows that cover the input."""
    outputs = call.outputs[0].elements
    return Cost("pool", (outputs, call.inputs[0].elements // max(outputs, 1)))


@formula("_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward")
def adaptive_pool_backward(call: Call) -> Cost:
    """Cost dealing the gradient of windows that cover the input."""
    grad, given = call.inputs[0].elements, call.inputs[1].elements
    reads = tuple(0.0 if at == 1 else one.nbytes for at, one in enumerate(call.inputs))
    return Cost("pool", (grad, given // max(grad, 1)), reads=reads)


@formula("embedding", "index_select")
def embedding(call: Call) -> Cost:
    """Cost fetching one row of a table for each index."""
    table, index = call.inputs[:2]
    rows, out = index.elements, call.outputs[0]
    return Cost("gather", (rows, out.elements // max(rows, 1), table.shape[0]),
                reads=(min(out.nbytes, table.nbytes), index.nbytes))  # fmt: skip


@formula("gather", "take", "masked_select")
def gather(call: Call) -> Cost:
    """Cost fetching single elements."""
    table, index = call.inputs[:2]
    out = call.outputs[0]
    return Cost("gather", (out.elements, 1, table.shape[0] if table.shape else 1),
                reads=(min(out.nbytes, table.nbytes), index.nbytes))  # fmt: skip


@formula("index")
def index(call: Call) -> Cost:
    """Cost fetching rows (or blocks) of a tensor by tensors of indices."""
    table, *indices = call.inputs
    out = call.outputs[0]
    rows = max((one.elements for one in indices), default=1)
    return Cost("gather", (rows, out.elements // max(rows, 1), table.shape[0]),
                reads=(min(out.nbytes, table.nbytes), *(i.nbytes for i in indices)))  # fmt: skip


@formula("embedding_dense_backward")
def embedding_backward(call: Call) -> Cost:
    """Cost a table of zeros to which one row is added for each index."""
    rows, table = call.inputs[1].elements, call.outputs[0].shape
    return Cost("scatter", (rows, table[1], table[0]))


@formula("index_add", "index_copy", "scatter", "scatter_add", "scatter_reduce", "index_fill")
def scatter(call: Call) -> Cost:
    """Cost adding (or writing) one row or element of the last input for each index."""
    table, rows = call.inputs[0], call.inputs[1].elements
    values = call.inputs[-1]
    moved = min(values.nbytes, table.nbytes)
    fresh = call.name[-1] != "_"
    reads = (table.nbytes if fresh else moved, *(one.nbytes for one in call.inputs[1:]))
    return Cost("scatter", (rows, values.elements // max(rows, 1), table.shape[0]), reads=reads,
                written=None if fresh else moved)  # fmt: skip


@formula("index_put", "_index_put_impl_")
def index_put(call: Call) -> Cost:
    """Cost adding (or writing) the last input at the places that the indices between say."""
    return scatter(call)


@formula("sort", "topk", "kthvalue", "median", "mode", "argsort")
def sort(call: Call) -> Cost:
    """Cost ordering (or selecting from) each row along one axis."""
    shape = call.inputs[0].shape
    columns = shape[call.options.get("dim", -1)] if shape else 1
    return Cost("sort", (prod(shape) // max(columns, 1), columns))
