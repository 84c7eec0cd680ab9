"""Capture the step of any torch module as a torch-free workload, without running it.

Parameters, inputs and the optimizer's state are replaced by fake tensors on the CPU, which have
sizes but no memory, and two steps are done with them. The second one counts (optimizers make their
state in the first): every kernel call goes on a tape. Fake tensors on the CPU make torch take the
same ways as real ones; plain meta tensors do not (they fall back to other attention and LSTM
kernels). Besides the real calls fake tensors only ask for devices, which is left out.
"""

from __future__ import annotations

import copy
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from simulator.errors import InputError, UnknownNameError
from simulator.ops import DTYPES
from simulator.workload import Gradient, Workload
from workloads.kernels import Call
from workloads.tape import Storage, Tape, Tensor

Loss: TypeAlias = Callable[..., torch.Tensor]
OptimizerLike: TypeAlias = (
    str | torch.optim.Optimizer | Callable[[Any], torch.optim.Optimizer] | None
)
Input: TypeAlias = Any
"""A tensor, a shape (a tuple of whole numbers, meaning float32), or what else a module takes."""

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
"""Optimizers by name, with torch's own defaults for what decides which kernels are called."""

_OPTIONS = frozenset(
    ("groups", "transposed", "output_mask", "is_causal", "kernel_size", "dim", "num_heads",
     "num_head", "approximate")
)  # fmt: skip
_NOT_COMPUTING = frozenset(("prim", "profiler"))
_NO_WORK = frozenset(
    ("lift", "lift_fresh", "as_strided_", "detach_", "squeeze_", "swapaxes_", "swapdims_", "t_",
     "transpose_", "unsqueeze_")
)  # fmt: skip
"""Kernels that only change how a tensor is seen, although neither result nor schema tells."""
_DEPENDS_ON_DATA = (DataDependentOutputException, DynamicOutputShapeException)
_NOT_FAKE = (UnsupportedFakeTensorException, UnsupportedOperatorException)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Be one step of a module in torch: forward, and when training backward and update.

    Parameters
    ----------
    module : what is computed
    args, kwargs : its arguments
    training : whether the step has a backward pass
    loss : from output (and target) to a scalar; None: the output itself where it is a scalar, else
        its sum
    target : second argument of the loss, or None
    optimizer : None: gradients are computed and not used
    """

    module: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    training: bool = False
    loss: Loss | None = None
    target: Any = None
    optimizer: torch.optim.Optimizer | None = None

    def step(self) -> Any:
        """Do one step; return the loss when training, else the output."""
        result = self.forward()
        if self.training:
            self.backward(result)
            self.update()
        return result

    def forward(self) -> Any:
        """Return the loss when training, else the output (computed without gradients).

        The gradients of the last step go first, as in the usual training loop.
        """
        self.module.zero_grad()
        with torch.set_grad_enabled(self.training):
            output = self.module(*self.args, **self.kwargs)
            return self._loss_of(output) if self.training else output

    def backward(self, loss: torch.Tensor) -> None:
        """Give every weight its gradient."""
        if not loss.requires_grad:
            raise InputError("the loss does not depend on any trained parameter of the module")
        loss.backward()

    def update(self) -> None:
        """Let the optimizer use the gradients."""
        if self.optimizer is not None:
            self.optimizer.step()

    def _loss_of(self, output: Any) -> torch.Tensor:
        if self.loss is not None:
            return self.loss(output) if self.target is None else self.loss(output, self.target)
        first = next((x for x in tree_leaves(output) if isinstance(x, torch.Tensor)), None)
        if first is None:
            raise InputError("the module gives no tensor to be trained on; give a loss")
        return first if first.dim() == 0 else first.sum()


def step_of(module: nn.Module, inputs: Input, **options: Any) -> Step:
    """Return the real step of a module; shapes among its inputs become random numbers.

    Parameters
    ----------
    options : loss, target, optimizer and training, as `capture` has them

    >>> step_of(nn.Linear(4, 3), (2, 4)).step().shape
    torch.Size([2, 3])
    """
    return _step(module, _arguments(inputs, _drawn), _drawn, **options)


def _step(
    module: nn.Module,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    make: Callable[[Input], Any],
    *,
    loss: Loss | None = None,
    target: Input = None,
    optimizer: OptimizerLike = None,
    training: bool | None = None,
) -> Step:
    """Return a step of a module with arguments that are made; `make` makes the target."""
    if training is None:
        training = loss is not None or optimizer is not None
    args, kwargs = arguments
    return Step(
        module=module.train(training),
        args=args,
        kwargs=kwargs,
        training=training,
        loss=loss,
        target=make(target) if training and target is not None else None,
        optimizer=_made(optimizer, module) if training else None,
    )


def capture(
    module: nn.Module | Callable[[], nn.Module],
    inputs: Input,
    *,
    loss: Loss | None = None,
    target: Input = None,
    optimizer: OptimizerLike = None,
    training: bool | None = None,
    name: str | None = None,
) -> Workload:
    """Return the workload of one step of a module, which is neither run nor changed.

    Parameters
    ----------
    module : any module, also one on the device "meta"; or a function that makes one (it is called
        among fake tensors, so that even a large one takes no memory)
    inputs : what the module is called with: a tensor, a shape, a sequence of them, or a mapping
        of names to them; a shape is a tuple of whole numbers and means float32
    loss : takes the module's output (and the target, where there is one) and gives a scalar; None:
        the output itself where it is a scalar, else its sum
    target : second argument of the loss: a tensor or a shape
    optimizer : "sgd", "momentum", "adam", "adamw", an optimizer of this module, or a function from
        parameters to an optimizer; None: gradients are computed and not used
    training : forward, backward and update in training mode, or forward only in evaluation mode
        without gradients; None: training where there is a loss or an optimizer
    name : of the workload; None: the module's class in small letters

    Raises
    ------
    InputError : the step depends on values (`item`, `nonzero` ...), or the module cannot take
        these inputs

    >>> workload = capture(nn.Linear(4, 3), (2, 4), optimizer="sgd")
    >>> [op.label for op in workload.graph]
    ['addmm', 'sum', 'ones_like', 'mm', 'sum', 'add_', 'add_']
    """
    options = {"loss": loss, "target": target, "optimizer": optimizer, "training": training}
    name = name or _name(module)
    step, recorder = _recorded(module, inputs, name, options)
    return _workload(step, recorder, name)


def calls_of(
    module: nn.Module | Callable[[], nn.Module], inputs: Input, **options: Any
) -> list[Call]:
    """Return the kernel calls of one step in their order, with shapes and dtypes.

    Parameters
    ----------
    options : loss, target, optimizer and training, as `capture` has them
    """
    return _recorded(module, inputs, _name(module), options)[1].calls


def _recorded(
    module: nn.Module | Callable[[], nn.Module], inputs: Input, name: str, options: dict[str, Any]
) -> tuple[Step, Recorder]:
    fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
    with _explained(name):
        step = _fake_step(fake_mode, module, inputs, options)
        return step, _record(fake_mode, step)


def _name(module: nn.Module | Callable[[], nn.Module]) -> str:
    if isinstance(module, nn.Module):
        return type(module).__name__.lower()
    return getattr(module, "__name__", type(module).__name__).lower()


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what torch raises among fake tensors into errors that say what to do."""
    instead = "it can still be measured as it is (`scalemodel measure`)"
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    try:
        # torch prints a traceback of its own for what is said here in one line.
        log.setLevel(logging.CRITICAL)
        yield
    except _DEPENDS_ON_DATA as error:
        raise InputError(
            f"cannot capture '{name}': '{error.func}' gives a value or a shape that depends on "
            f"the data, so the step is not known without running it; {instead}"
        ) from error
    except _NOT_FAKE as error:
        raise InputError(
            f"cannot capture '{name}': torch cannot tell what {error} gives without running "
            f"it; {instead}"
        ) from error
    except InputError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"cannot capture '{name}': the step fails with "
                         f"{type(error).__name__}: {error}") from error  # fmt: skip
    finally:
        log.setLevel(level)


def _fake(fake_mode: FakeTensorMode, real: torch.Tensor) -> torch.Tensor:
    """Return a fake tensor on the CPU like a tensor of any device."""
    if real.layout != torch.strided or real.is_quantized:
        raise InputError(f"only dense tensors can be captured; got {real.layout}, {real.dtype}")
    with fake_mode:
        fake = torch.empty_strided(real.size(), real.stride(), dtype=real.dtype, device="cpu")
    if isinstance(real, nn.Parameter):
        return nn.Parameter(fake, real.requires_grad)
    return fake.requires_grad_(real.requires_grad)


def _is_shape(value: object) -> bool:
    return isinstance(value, (tuple, torch.Size)) and all(type(size) is int for size in value)


def _checked_shape(value: Sequence[int]) -> Sequence[int]:
    if any(size < 1 for size in value):
        raise InputError(f"the sizes of an input must be positive; got {tuple(value)}")
    return value


def _drawn(value: Input) -> Any:
    return torch.randn(_checked_shape(value)) if _is_shape(value) else value


def _arguments(
    inputs: Input, make: Callable[[Input], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and named arguments, each made of what was given for it."""
    if isinstance(inputs, Mapping):
        return (), {name: make(value) for name, value in inputs.items()}
    if isinstance(inputs, torch.Tensor) or _is_shape(inputs):
        return (make(inputs),), {}
    listed = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    return tuple([make(value) for value in listed]), {}


def _fake_step(
    fake_mode: FakeTensorMode,
    module: nn.Module | Callable[[], nn.Module],
    inputs: Input,
    options: dict[str, Any],
) -> Step:
    made, memo = _fake_module(fake_mode, module)

    def fake(value: Input) -> Any:
        return _fake_input(fake_mode, value, memo)

    # What refers to the module's own parameters must refer to the fake ones.
    loss, optimizer = options.get("loss"), options.get("optimizer")
    if isinstance(loss, nn.Module):
        options = {**options, "loss": copy.deepcopy(loss, memo)}
    if isinstance(optimizer, torch.optim.Optimizer):
        options = {**options, "optimizer": _fake_optimizer(optimizer, memo)}
    return _step(made, _arguments(inputs, fake), fake, **options)


def _fake_input(fake_mode: FakeTensorMode, value: Input, memo: dict[int, Any]) -> Any:
    """Return an input of fake tensors; a tensor that occurs twice is the same one again."""
    if _is_shape(value):
        return _fake(fake_mode, torch.empty(_checked_shape(value), device="meta"))

    def fake(real: torch.Tensor) -> torch.Tensor:
        if id(real) not in memo:
            memo[id(real)] = _fake(fake_mode, real)
        found: torch.Tensor = memo[id(real)]
        return found

    return tree_map_only(torch.Tensor, fake, value)


def _fake_module(
    fake_mode: FakeTensorMode, module: nn.Module | Callable[[], nn.Module]
) -> tuple[nn.Module, dict[int, Any]]:
    """Return a copy of a module with fake parameters and buffers, and which stands for which."""
    if not isinstance(module, nn.Module):
        with fake_mode:
            module = module()
        if not isinstance(module, nn.Module):
            raise InputError(f"expected a torch module or a function that makes one; "
                             f"got {type(module).__name__}")  # fmt: skip
    memo: dict[int, Any] = {}
    for real in (*module.parameters(), *module.buffers()):
        if torch.nn.parameter.is_lazy(real):
            raise InputError("the module has parameters without a size; call it once beforehand")
        memo[id(real)] = _fake(fake_mode, real)
    return copy.deepcopy(module, memo), memo


def _fake_optimizer(
    optimizer: torch.optim.Optimizer, memo: dict[int, Any]
) -> torch.optim.Optimizer:
    """Return a copy of an optimizer for the fake parameters, without its state."""
    memo[id(optimizer.state)] = defaultdict(dict)
    return copy.deepcopy(optimizer, memo)


def _made(optimizer: OptimizerLike, module: nn.Module) -> torch.optim.Optimizer | None:
    """Return an optimizer of the module's trained parameters."""
    if optimizer is None or isinstance(optimizer, torch.optim.Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise UnknownNameError("optimizer", optimizer, OPTIMIZERS)
        optimizer = OPTIMIZERS[optimizer]
    return optimizer([one for one in module.parameters() if one.requires_grad])


@dataclass(frozen=True, slots=True)
class _Kernel:
    """Hold what is asked about a kernel at every call."""

    name: str
    computes: bool
    written: tuple[tuple[int, str], ...]
    options: tuple[tuple[int, str, Any], ...]

    @classmethod
    def of(cls, function: Any) -> _Kernel:
        arguments = list(enumerate(function._schema.arguments))
        name = function._schema.name.split("::")[-1]
        return cls(
            name=name,
            computes=function.namespace not in _NOT_COMPUTING and name not in _NO_WORK,
            written=tuple(
                (at, one.name) for at, one in arguments
                if one.alias_info is not None and one.alias_info.is_write
            ),
            options=tuple(
                (at, one.name, one.default_value if one.has_default_value() else None)
                for at, one in arguments if one.name in _OPTIONS
            ),
        )  # fmt: skip


class Recorder(TorchDispatchMode):
    """Write the kernel calls of a step on a tape, of fake tensors or real ones.

    `tape.phase` is the phase of the calls that follow; those made while not `recording` are left
    out. Parameters are made known as weights with `storage(parameter, weight=True)` beforehand.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tape = Tape()
        self.calls: list[Call] = []
        self.recording = False
        self.ready: list[tuple[str, torch.Tensor, int]] = []
        self._kernels: dict[Any, _Kernel] = {}
        # The memory itself is kept too: else another could get its address.
        self._storages: dict[int, tuple[Storage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.recording:
            kernel = self._kernels.get(func)
            if kernel is None:
                kernel = self._kernels[func] = _Kernel.of(func)
            if kernel.computes:
                self._record(kernel, args, kwargs or {}, result)
        return result

    def storage(self, tensor: torch.Tensor, weight: bool = False) -> Storage:
        """Return what stands for a tensor's memory on the tape."""
        memory = tensor.untyped_storage()
        kept = self._storages.get(memory._cdata)
        if kept is None:
            kept = self._storages[memory._cdata] = (Storage(weight), memory)
        return kept[0]

    def _record(
        self, kernel: _Kernel, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        given = [*_tensors(args), *_tensors(kwargs.values())]
        written = [*_tensors(_argument(args, kwargs, at, name) for at, name in kernel.written)]
        known = {one.untyped_storage()._cdata for one in given}
        results = [*_tensors((result,))]
        fresh = [one for one in results if one.untyped_storage()._cdata not in known]
        if results and not fresh and not written:
            return  # a view: no work
        inputs = [self._view(one) for one in given]
        place = {id(one): at for at, one in enumerate(given)}
        outputs = [self._view(one) for one in fresh]
        options = tuple([(name, _hashable(_argument(args, kwargs, at, name, default)))
                         for at, name, default in kernel.options])  # fmt: skip
        self.calls.append(
            Call(
                kernel.name,
                tuple([one.operand for one in inputs]),
                tuple([self._view(one).operand for one in results]),
                {},
            )
        )
        writes = [inputs[place[id(one)]] for one in written]
        self.tape.call(_told_apart(kernel.name, options), inputs, outputs, writes, options)

    def _view(self, tensor: torch.Tensor) -> Tensor:
        distinct = tensor.element_size()
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
            distinct *= size if stride else min(size, 1)
        return self.tape.tensor(
            tuple(tensor.shape),
            _dtype(tensor.dtype),
            self.storage(tensor),
            float(distinct),
            int(tensor.storage_offset()),
        )


def _argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], at: int, name: str, default: Any = None
) -> Any:
    return args[at] if at < len(args) else kwargs.get(name, default)


def _told_apart(name: str, options: tuple[tuple[str, Any], ...]) -> str:
    """Return the name of a kernel; one that stands for two algorithms is told apart."""
    return name.replace("gelu", "gelu_tanh") if ("approximate", "tanh") in options else name


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _dtype(dtype: torch.dtype) -> str:
    """Return the name of a data type, or the nearest that the vocabulary has."""
    name = str(dtype).removeprefix("torch.")
    if name in DTYPES:
        return name
    if name.startswith("float8"):
        return "float8"
    if dtype.is_complex:
        return "complex64"
    return f"int{8 * dtype.itemsize}"


def _record(fake_mode: FakeTensorMode, step: Step) -> Recorder:
    """Do two steps and record the second one."""
    recorder = Recorder()
    names = {id(one): name for name, one in step.module.named_parameters()}
    for one in step.module.parameters():
        recorder.storage(one, weight=True)
        if step.training and one.requires_grad:
            one.register_post_accumulate_grad_hook(
                lambda p: _note_gradient(recorder, names[id(p)], p)
            )
    with fake_mode, recorder:
        for recording in (False, True) if step.training else (True,):
            recorder.recording = recording
            _do(step, recorder.tape)
    return recorder


def _note_gradient(recorder: Recorder, name: str, parameter: torch.Tensor) -> None:
    grad = parameter.grad
    if recorder.recording and grad is not None:
        writer = recorder.storage(grad).writer
        recorder.ready.append((name, grad, writer if writer >= 0 else len(recorder.tape) - 1))


def _do(step: Step, tape: Tape) -> None:
    tape.phase = "forward"
    result = step.forward()
    if step.training:
        tape.phase = "backward"
        step.backward(result)
        tape.phase = "update"
        step.update()


def _workload(step: Step, recorder: Recorder, name: str) -> Workload:
    given = [*_tensors(step.args), *_tensors(step.kwargs.values())]
    batch = given[0].shape[0] if given and given[0].dim() else 1
    weights = list(step.module.parameters())
    state = [] if step.optimizer is None else list(step.optimizer.state.values())
    return Workload(
        name=name,
        parameters={"batch": batch, "training": step.training},
        graph=recorder.tape.graph(),
        samples=batch,
        weight_count=sum(one.numel() for one in weights),
        weight_bytes=_nbytes(weights),
        state_bytes=_nbytes(tree_leaves(state)),
        input_bytes=_nbytes(given) + _nbytes(tree_leaves(step.target)),
        gradients=tuple(
            Gradient(parameter, _nbytes([grad]), op) for parameter, grad, op in recorder.ready
        ),
        unmodelled=dict(recorder.tape.unmodelled),
    )


def _nbytes(values: Sequence[Any]) -> float:
    return float(sum(one.nbytes for one in values if isinstance(one, torch.Tensor)))
