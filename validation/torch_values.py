"""Hold the tensors of a measured run by the names of buffers, and do its works.

A buffer is a flat tensor, made when it is first asked for; the gradient buckets of a job are slices
of `grad`. A work is done by a function that is told the work and whom to tell its marks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch.utils.hooks import RemovableHandle

from simulator.engine.cosimulation import part
from simulator.errors import InputError, UnknownNameError
from simulator.workload import Buffer, Job, Work
from validation.torch_compression import WORKS as CODING
from validation.torch_compression import Codes
from validation.torch_twins import Twin
from validation.wall_messages import numbers_in

Reached: TypeAlias = Callable[[str], None]
DoWork: TypeAlias = Callable[[Work, Reached], object]


IN_PLACE: Mapping[str, Callable[..., torch.Tensor]] = {
    "sum": torch.add,
    "max": torch.maximum,
    "min": torch.minimum,
}
"""Reductions of two tensors into one of them."""


class TorchValues:
    """Hold tensors by name and do works.

    Parameters
    ----------
    do : does a work
    device : where new tensors are made
    tensors : that there are already, flat
    """

    def __init__(
        self,
        do: DoWork,
        device: torch.device | None = None,
        tensors: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self._do, self._device = do, device
        self.tensors: dict[str, torch.Tensor] = dict(tensors or {})

    def compute(self, work: Work, reached: Reached | None = None) -> None:
        """Do a work; `reached` is told each mark of it."""
        self._do(work, reached or tell_nobody)

    def tensor(self, buffer: Buffer) -> torch.Tensor:
        """Return the tensor of a buffer, zeros where it is new; of a part a view of the whole."""
        if buffer.whole is not None:
            whole = self.tensor(buffer.whole)
            return whole[part(len(whole), *buffer.place)]
        found = self.tensors.get(buffer.name)
        if found is None:
            found = torch.empty(numbers_in(buffer), device=self._device)
            # Filled, not only zero: pages that nobody wrote to would be read from one page.
            self.tensors[buffer.name] = found.fill_(0.0)
        return found

    def read(self, buffer: str) -> torch.Tensor:
        """Return a copy of a buffer's contents."""
        if buffer not in self.tensors:
            raise UnknownNameError("buffer", buffer, self.tensors)
        return self.tensors[buffer].clone()

    def write(self, buffer: str, payload: Any) -> None:
        """Replace a buffer's contents, or their beginning."""
        into = self.tensors[buffer]
        into[: len(payload)] = payload

    def receive(self, buffer: Buffer, contents: torch.Tensor, op: str | None = None) -> None:
        """Replace the beginning of a buffer by bytes that came in a message, or reduce them in."""
        whole = self.tensor(buffer)
        into = whole[: len(contents) // whole.element_size()]
        came = contents.view(into.dtype).to(into.device)
        if op is None:
            into.copy_(came)
        else:
            IN_PLACE[op](into, came, out=into)

    def reduce(self, payloads: Sequence[Any], op: str) -> torch.Tensor:
        """Return the reduction of payloads, in their order."""
        stacked = torch.stack(list(payloads))
        if op in ("sum", "mean"):
            total = stacked.sum(0)
            return total / len(payloads) if op == "mean" else total
        return stacked.amax(0) if op == "max" else stacked.amin(0)


def tell_nobody(_: str) -> None:
    """Be what is told marks that nobody waits for."""


def sleeping(times_s: Callable[[Work], Sequence[float]]) -> DoWork:
    """Return what does a work as a virtual device does: by sleeping.

    Parameters
    ----------
    times_s : from a work to the time of each of its ops, seconds
    """
    known: dict[Work, tuple[list[tuple[float, str]], float]] = {}

    def moments(work: Work) -> tuple[list[tuple[float, str]], float]:
        ends_s = [0.0, *itertools.accumulate(times_s(work))]
        marks = ((ends_s[min(op + 1, len(ends_s) - 1)], mark) for mark, op in work.marks)
        return sorted(marks), ends_s[-1]

    def do(work: Work, reached: Reached) -> None:
        begin = time.monotonic()
        if work not in known:
            known[work] = moments(work)
        marks, end_s = known[work]
        for at_s, mark in marks:
            _sleep_until(begin + at_s)
            reached(mark)
        _sleep_until(begin + end_s)

    return do


def _sleep_until(moment_s: float) -> None:
    left_s = moment_s - time.monotonic()
    if left_s > 0:
        time.sleep(left_s)


BETWEEN_BUFFERS = ("accumulate", "average")
"""Works of plans that need buffers only, whatever the model."""


def _not_in_parts(work: Work) -> InputError:
    return InputError(f"work '{work.name}' on {', '.join(work.writes)}: a twin works on whole "
                      "buffers, not on shards or buckets; measure with one server, or with "
                      "devices that sleep (--sleep-as)")  # fmt: skip


def in_ready_order(twin: Twin, job: Job) -> list[torch.nn.Parameter]:
    """Return a twin's parameters in the order in which their gradients are ready.

    Raises
    ------
    InputError : the workload has gradients of other parameters, or none
    """
    parameters = list(twin.module.named_parameters())
    by_name = dict(parameters) | {f"weight{i}": p for i, (_, p) in enumerate(parameters)}
    wanted = [gradient.name for gradient in job.workload.gradients]
    if not wanted or not set(wanted) <= set(by_name):
        raise InputError(f"the twin of '{job.workload.name}' has other parameters than the "
                         "workload has gradients")  # fmt: skip
    return [by_name[name] for name in wanted]


class TwinWorks:
    """Do the works of a training job with a torch twin; gradients lie in one flat tensor.

    As in DistributedDataParallel each gradient is copied into its bucket when it is ready; a bucket
    is marked when all of its gradients are.

    Parameters
    ----------
    twin : does the step
    job : of the same workload
    rank : whose works they are
    """

    def __init__(self, twin: Twin, job: Job, rank: int = 0) -> None:
        self._twin = twin
        self._codes = Codes(rank, job.seed)
        self._loss: torch.Tensor | None = None
        self._missing: dict[str, int] = {}
        self._reached: Reached = tell_nobody
        self._buckets: dict[str, list[torch.nn.Parameter]] = {}
        self._views: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        self._hooks: list[RemovableHandle] = []
        self.tensors: dict[str, torch.Tensor] = {}
        if job.workload.training:
            self._lay_out(job)
        self._works: dict[str, Callable[[], object]] = {
            "step": twin.step, "local_step": twin.step, "forward": self._forward,
            "backward": self._backward, "gradient": self._gradient, "update": self._update,
        }  # fmt: skip

    def __call__(self, work: Work, reached: Reached) -> None:
        """Do a work and tell its marks.

        Raises
        ------
        UnknownNameError : neither the twin nor a plan's works of sums and means have the name
        InputError : the work is on shards or buckets, which a twin does as a whole only
        """
        self._reached = reached
        if work.name in BETWEEN_BUFFERS:
            self._combine(work)
            return
        if work.name in CODING:
            self._codes(work, self.tensors)
            return
        if work.name not in self._works:
            known = [*self._works, *BETWEEN_BUFFERS, *CODING]
            raise UnknownNameError("work of a twin (sleeping devices do any)", work.name, known)
        if work.name == "update" and work.writes != ("params",):
            raise _not_in_parts(work)
        self._works[work.name]()

    def _combine(self, work: Work) -> None:
        """Sum or average buffers; the last one read of a sum, the first of a mean, is written."""
        (into,) = work.writes
        others = [self.tensors.get(name) for name in work.reads if name != into]
        if any(other is None for other in others):
            raise _not_in_parts(work)
        came = [other for other in others if other is not None]
        total = self.tensors.setdefault(into, torch.zeros_like(came[0]))
        for other in came:
            total.add_(other)
        if work.name == "average":
            total.div_(len(work.reads))

    def _update(self) -> None:
        """Update; a server has no gradients of its own, but those that came."""
        for parameter, view in self._views:
            if parameter.grad is None:
                parameter.grad = view
        self._twin.update()

    def _forward(self) -> None:
        self._loss = self._twin.forward()

    def _backward(self) -> None:
        self._missing = {name: len(held) for name, held in self._buckets.items()}
        loss, self._loss = self._loss, None
        if loss is None:
            raise InputError("backward needs the loss of a forward before it")
        self._twin.backward(loss)

    def _gradient(self) -> None:
        self._forward()
        self._backward()

    def _lay_out(self, job: Job) -> None:
        held = in_ready_order(self._twin, job)
        whole = [one.data.flatten() for one in self._twin.module.parameters()]
        self._place_parameters(torch.cat(whole))
        grad = torch.zeros(sum(p.numel() for p in held), device=held[0].device)
        self.tensors["grad"] = grad
        names = iter(job.buckets)
        begin = at = 0
        bucket, inside = next(names), list[torch.nn.Parameter]()
        for parameter in held:
            view = grad[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
            inside.append(parameter)
            self._views.append((parameter, view))
            ready = self._when_ready(view, bucket.name)
            self._hooks.append(parameter.register_post_accumulate_grad_hook(ready))
            if (at - begin) * grad.element_size() >= bucket.nbytes:
                self.tensors[bucket.name] = grad[begin:at]
                self._buckets[bucket.name], inside, begin = inside, [], at
                bucket = next(names, bucket)

    def share_parameters(self, flat: torch.Tensor) -> None:
        """Take parameters in common memory; gradients stay where they are made, as none is sent."""
        while self._hooks:
            self._hooks.pop().remove()
        self._views.clear()
        self._place_parameters(flat)

    def _place_parameters(self, flat: torch.Tensor) -> None:
        """Let the parameters be views of one flat tensor, which has their values."""
        at = 0
        for parameter in self._twin.module.parameters():
            parameter.data = flat[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
        self.tensors["params"] = flat

    def _when_ready(self, view: torch.Tensor, bucket: str) -> Callable[[torch.Tensor], None]:
        def ready(parameter: torch.Tensor) -> None:
            if parameter.grad is not None and parameter.grad.data_ptr() != view.data_ptr():
                view.copy_(parameter.grad)
                parameter.grad = view
            self._missing[bucket] = self._missing.get(bucket, 1) - 1
            if self._missing[bucket] == 0:
                self._reached(bucket)

        return ready
