"""Capture sees what eager execution on a CPU does, without doing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from simulator.errors import InputError, UnknownNameError
from simulator.workload import Job, Workload
from validation import torch_models
from workloads.capture import OPTIMIZERS, calls_of, capture
from workloads.models.images import Residuals


class Eager(TorchDispatchMode):
    """Note every kernel that is called for real, but views and what does not compute."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        results = [one for one in tree_leaves(result) if isinstance(one, torch.Tensor)]
        known = {one.untyped_storage()._cdata for one in given}
        view = results and all(one.untyped_storage()._cdata in known for one in results)
        writes = any(a.alias_info and a.alias_info.is_write for a in func._schema.arguments)
        name = func._schema.name.removeprefix("aten::")
        view = view and (not writes or name == "transpose_")  # transposes in place: still a view
        if func.namespace == "aten" and not view:
            self.calls.append((name, shapes(given), shapes(results)))
        return result


def shapes(tensors):
    """Return shapes and dtypes, but for the workspace of a library, whose size is its secret."""
    seen = [(tuple(one.shape), str(one.dtype).removeprefix("torch.")) for one in tensors]
    return tuple(one for one in seen if one[1] != "uint8")


def eager_calls(module, inputs, loss, target, optimizer, training):
    """Do two real steps; return the calls of the second."""
    module.train(training)
    updates = OPTIMIZERS[optimizer](module.parameters()) if optimizer else None
    for _ in range(2):
        with Eager() as eager, torch.set_grad_enabled(training):
            module.zero_grad()
            output = module(*inputs)
            if training:
                loss(output, target).backward()
                if updates:
                    updates.step()
    return eager.calls


def tokens(*shape, below=20):
    return torch.randint(0, below, shape)


def gpt(layers, width, heads, vocabulary, positions):
    return torch_models.Gpt(
        torch_models.Transformer(
            layers=layers, width=width, heads=heads, vocabulary=vocabulary, positions=positions
        )
    )


def encoder():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(80, 4))


class First(nn.Module):
    """Give the first result of a module."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *inputs):
        return self.module(*inputs)[0].flatten(1)


CASES = {
    "mlp": (lambda: torch_models.mlp([8, 16, 16, 5]), lambda: [torch.randn(3, 8)]),
    "resnet": (
        lambda: torch_models.resnet(Residuals((1, 1)), 8, 5),
        lambda: [torch.randn(2, 3, 32, 32)],
    ),
    "mobilenet": (
        lambda: torch_models.mobilenet_v2([(1, 16, 1, 1), (6, 24, 2, 2)], 5),
        lambda: [torch.randn(2, 3, 32, 32)],
    ),
    "gpt": (lambda: gpt(2, 16, 2, 20, 8), lambda: [tokens(2, 7)]),
    "lstm": (lambda: torch_models.LstmLanguage(20, 16, 24, 2), lambda: [tokens(2, 7)]),
    "transformer encoder": (encoder, lambda: [torch.randn(2, 5, 16)]),
    "gru": (lambda: First(nn.GRU(8, 12, 2, batch_first=True)), lambda: [torch.randn(2, 5, 8)]),
    "two-way lstm": (
        lambda: First(nn.LSTM(8, 12, bidirectional=True, batch_first=True)),
        lambda: [torch.randn(2, 5, 8)],
    ),
    "attention with weights": (
        lambda: First(nn.MultiheadAttention(16, 4, batch_first=True)),
        lambda: [torch.randn(2, 5, 16)] * 3,
    ),
}


def seen(calls):
    listed = []
    for call in calls:
        given, results = (
            tuple((one.shape, one.dtype) for one in side if one.dtype != "uint8")
            for side in (call.inputs, call.outputs)
        )
        listed.append((call.name, given, results))
    return listed


@pytest.mark.parametrize("optimizer", [None, "adamw"])
@pytest.mark.parametrize("name", CASES)
def test_training_calls_what_eager_execution_calls(name, optimizer):
    make, given = CASES[name]
    module, inputs = make(), given()
    rows = module(*inputs).shape[0]
    step = {"loss": functional.cross_entropy, "target": tokens(rows, below=4),
            "optimizer": optimizer, "training": True}  # fmt: skip
    assert seen(calls_of(module, inputs, **step)) == eager_calls(module, inputs, **step)


@pytest.mark.parametrize("name", CASES)
def test_inference_calls_what_eager_execution_calls(name):
    make, given = CASES[name]
    module, inputs = make(), given()
    eager = eager_calls(module, inputs, None, None, None, training=False)
    assert seen(calls_of(module, inputs)) == eager


def test_the_fused_encoder_layer_is_used_for_inference_and_its_arithmetic_known():
    batch, length, width, hidden = 2, 5, 16, 32
    layer = nn.TransformerEncoderLayer(width, 2, hidden, batch_first=True)
    workload = capture(layer, (batch, length, width))
    assert [op.label for op in workload.graph] == ["_transformer_encoder_layer_fwd"]
    per_token = 4 * width * width + 2 * width * hidden + 2 * length * width
    assert workload.graph.flops.sum() == 2 * batch * length * per_token
    assert not workload.unmodelled


def test_phases_cut_a_step_into_forward_backward_and_update():
    job = Job.of(capture(nn.Linear(4, 3), (2, 4), optimizer="momentum"))
    labels = {part: [op.label for op in job.works[part].graph]
              for part in ("forward", "backward", "update")}  # fmt: skip
    assert labels == {
        "forward": ["addmm", "sum"],
        "backward": ["ones_like", "mm", "sum"],
        "update": ["mul_", "add_", "add_"] * 2,
    }


def test_each_distinct_operand_is_read_once_and_weights_are_told_apart():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x * x * self.weight

    square, scaled = capture(Square(), (2, 3)).graph
    assert (square.bytes_read, square.bytes_written, square.weight_bytes) == (24, 24, 0)
    assert (scaled.bytes_read, scaled.weight_bytes, scaled.allocated_bytes) == (36, 12, 24)


def test_work_in_place_allocates_nothing_and_expanded_operands_count_once():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True))
    assert capture(module, (2, 4)).graph[1].allocated_bytes == 0
    workload = capture(module, (2, 4), loss=lambda y: y.mean())
    divide = next(op for op in workload.graph if op.label == "div")
    assert (divide.bytes_read, divide.bytes_written) == (4, 24)


def test_dependencies_pass_through_views_and_tell_bytes():
    class Views(nn.Module):
        def forward(self, x):
            doubled = x * 2
            return doubled.t().reshape(2, 3).transpose(0, 1).abs(), doubled.exp()

    graph = capture(Views(), (2, 3)).graph
    assert [op.label for op in graph] == ["mul", "clone", "abs", "exp"]
    assert [graph.deps_of(at).tolist() for at in range(4)] == [[], [0], [1], [0]]
    assert graph.dep_bytes.tolist() == [24, 24, 24]


def test_a_write_waits_for_those_that_read_what_was_there():
    class Overwrites(nn.Module):
        def forward(self, x):
            y = x + 1
            z = y.exp()
            y.mul_(2)
            return z + y

    graph = capture(Overwrites(), (2,)).graph
    assert [graph.deps_of(at).tolist() for at in range(4)] == [[], [0], [0, 1], [1, 2]]


def test_gradients_come_in_the_order_in_which_they_are_ready():
    module = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 2, bias=False))
    workload = capture(module, (5, 4), optimizer="sgd")
    assert [one.name for one in workload.gradients] == ["2.weight", "0.weight"]
    assert [workload.graph[one.op].label for one in workload.gradients] == ["mm", "mm"]
    assert [one.nbytes for one in workload.gradients] == [24, 48]


def test_sizes_of_weights_state_and_input_are_told():
    workload = capture(nn.Linear(4, 3), torch.randn(2, 4), optimizer="adam", name="mine")
    assert (workload.name, workload.samples, workload.training) == ("mine", 2, True)
    assert (workload.weight_count, workload.weight_bytes, workload.input_bytes) == (15, 60, 32)
    assert workload.state_bytes == 2 * 60 + 2 * 4  # two moments, and a count for each of two


def test_the_second_step_counts_so_that_optimizer_state_is_there():
    labels = [op.label for op in capture(nn.Linear(4, 3), (2, 4), optimizer="adam").graph]
    assert "zeros_like" not in labels


def test_a_module_is_neither_run_nor_changed():
    module = nn.Sequential(
        torch_models.resnet(Residuals((1, 1), expansion=1), 8, 5), nn.Dropout()
    ).eval()
    before = {name: one.clone() for name, one in module.state_dict().items()}
    random = torch.random.get_rng_state()
    capture(module, (2, 3, 32, 32), optimizer="adamw")
    assert torch.equal(random, torch.random.get_rng_state())
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not module.training
    assert all(one.grad is None for one in module.parameters())


def test_an_optimizer_of_the_module_is_copied_with_its_groups():
    module = nn.Linear(4, 3)
    decayed: dict[str, Any] = {"params": [module.weight], "weight_decay": 0.1}
    groups = [decayed, {"params": [module.bias]}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    labels = [op.label for op in capture(module, (2, 4), optimizer=optimizer).graph]
    assert labels[-3:] == ["add", "add_", "add_"]
    assert not optimizer.state


def test_any_optimizer_of_torch_will_do():
    workload = capture(nn.Linear(4, 3), (2, 4), optimizer=torch.optim.RMSprop)
    assert "addcdiv_" in [op.label for op in workload.graph]


@pytest.mark.parametrize("inputs", [(2, 4), torch.zeros(2, 4), [(2, 4)], {"input": (2, 4)}])
def test_inputs_may_be_tensors_shapes_lists_or_named(inputs):
    assert capture(nn.Linear(4, 3), inputs).graph.flops.sum() == 48


def test_a_loss_module_and_a_target_are_taken_as_they_are():
    workload = capture(nn.Linear(4, 3), (2, 4), loss=nn.MSELoss(), target=(2, 3))
    assert "mse_loss_backward" in [op.label for op in workload.graph]
    assert workload.input_bytes == 32 + 24


def test_a_function_that_makes_the_module_is_called_among_fake_tensors():
    workload = capture(lambda: nn.Linear(10**5, 10**5), (1, 10**5))  # 40 GB if it were real
    assert workload.weight_count == 10**10 + 10**5


@pytest.mark.parametrize(
    ("forward", "kernel"),
    [
        (lambda x: x * x.sum().item(), "_local_scalar_dense"),
        (lambda x: x if x.sum() > 0 else -x, "_local_scalar_dense"),
        (lambda x: x[x > 0], "nonzero"),
        (lambda x: x.unique(), "_unique2"),
    ],
)
def test_a_step_that_depends_on_data_is_refused_with_the_kernel_and_what_to_do(forward, kernel):
    module = nn.Module()
    module.forward = forward
    with pytest.raises(InputError, match=rf"'aten.{kernel}.*depends on the data.*measure"):
        capture(module, (2, 4))


def test_inputs_that_do_not_fit_are_refused_with_torchs_reason():
    with pytest.raises(InputError, match=r"cannot capture 'linear'.*RuntimeError"):
        capture(nn.Linear(4, 3), (2, 5))
    with pytest.raises(InputError, match=r"sizes of an input must be positive; got \(0, 4\)"):
        capture(nn.Linear(4, 3), (0, 4))


def test_what_cannot_be_captured_is_named():
    with pytest.raises(InputError, match="call it once beforehand"):
        capture(nn.LazyLinear(3), (2, 4))
    with pytest.raises(InputError, match="only dense tensors"):
        capture(nn.Linear(4, 3), torch.eye(4).to_sparse())
    with pytest.raises(InputError, match="does not depend on any trained parameter"):
        capture(nn.ReLU(), (2, 4), training=True)
    with pytest.raises(UnknownNameError, match="did you mean 'adamw'"):
        capture(nn.Linear(4, 3), (2, 4), optimizer="adamW2")
    with pytest.raises(InputError, match="function that makes one; got int"):
        capture(lambda: 3, (2, 4))  # type: ignore[arg-type, return-value]


def test_kernels_without_a_formula_are_counted_and_their_bytes_known():
    class Spectrum(nn.Module):
        def forward(self, x):
            return torch.fft.rfft(x)

    workload = capture(Spectrum(), (2, 8))
    assert workload.unmodelled == {"_fft_r2c": 1}
    assert (workload.graph.bytes_read.sum(), workload.graph.bytes_written.sum()) == (64, 80)


@pytest.mark.parametrize("name", CASES)
def test_nothing_in_the_common_modules_is_unmodelled(name):
    make, given = CASES[name]
    assert not capture(make(), given(), training=True).unmodelled


@pytest.mark.slow
def test_seven_billion_weights_take_less_than_a_gigabyte():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    with torch.device("meta"):
        module = gpt(32, 4096, 32, 50257, 2048)
    before = resident()
    workload: Workload = capture(module, [tokens(1, 2048)], loss=functional.cross_entropy,
                                 target=tokens(2048), optimizer="adamw")  # fmt: skip
    assert workload.weight_count > 6.6e9
    assert resident() - before < 1e9


@pytest.mark.benchmark
def test_capturing_seven_billion_weights(benchmark):
    with torch.device("meta"):
        module = gpt(32, 4096, 32, 50257, 2048)
    benchmark.pedantic(
        capture, (module, [tokens(1, 2048)]), {"optimizer": "adamw"}, rounds=1, iterations=1
    )
