"""Do the works of a training plan on real tensors: gradients, updates, sums and means.

A *lesson* is what all ranks learn: a module, data, an optimizer. A *learner* is one rank: it holds
its parameters as one flat tensor `params` and its gradient as one flat tensor `grad`, both in the
order in which gradients are ready, so that buckets and shards are slices. Learners share one
module, which looks at the parameters of whoever computes; what a module keeps beside parameters
(statistics of batch normalization) is therefore shared as well.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from simulator.engine.cosimulation import part
from simulator.errors import InputError, UnknownNameError
from simulator.ops import IntArray
from simulator.streams import stream
from simulator.workload import Job, Work
from validation.torch_compression import WORKS as CODING
from validation.torch_compression import Codes
from validation.torch_twins import Twin, twin
from validation.torch_values import Reached, TorchValues, in_ready_order
from workloads.datasets import Dataset

OUTER_RATE, OUTER_MOMENTUM = 0.7, 0.9
"""Of DiLoCo's outer optimizer: Douillard et al., 2023, section 3."""
_PART = re.compile(r"(.+)\[(\d+)/(\d+)\]$")
"""The name of a part: of which buffer, which one, of how many."""
_UPDATE = "update"
"""The buffer in which a client of federated training sends its parameters."""


class Weighted(NamedTuple):
    """Be a sum on its way, of so many terms."""

    total: torch.Tensor
    terms: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """Say how good parameters are on test samples.

    Parameters
    ----------
    loss : mean over the samples
    accuracy : share of the samples classified rightly; None where labels are no classes
    """

    loss: float
    accuracy: float | None


class Lesson:
    """Be what all ranks of a job learn.

    Parameters
    ----------
    job : of a workload that trains and has a twin
    data : what is learned from
    learners : among how many ranks, the first ones, the data are dealt
    learning_rate : of each update; None: that of the twin's optimizer

    Raises
    ------
    InputError : the workload does not train, or its samples have another size than the data
    """

    def __init__(
        self, job: Job, data: Dataset, learners: int, learning_rate: float | None = None
    ) -> None:
        if not job.workload.training:
            raise InputError(f"'{job.workload.name}' does not train; build it with training=True, "
                             "where it has such a parameter")  # fmt: skip
        self.job, self.data, self.learners = job, data, learners
        own = twin(job.workload, job.seed)
        self.twin: Twin = replace(own, module=copy.deepcopy(own.module))
        self._rate = learning_rate
        self.held = in_ready_order(self.twin, job)
        self._user: object = None
        like = self.twin.args[0]
        self.inputs, self.labels = self._tensors(data.inputs, data.labels, like)
        self._test = self._tensors(data.test_inputs, data.test_labels, like)
        self.batch = len(like)
        self.initial = torch.cat([one.detach().flatten() for one in self.held])
        self._check()

    def _check(self) -> None:
        """Raise where the model cannot learn the labels, or in its kind of numbers."""
        name, classes = self.job.workload.name, self.job.workload.parameters.get("classes")
        labels = self.data.labels
        if isinstance(classes, int) and labels.dtype.kind in "iu" and labels.max() >= classes:
            raise InputError(f"data '{self.data.name}' has {labels.max() + 1} classes; '{name}' "
                             f"knows {classes} (workload.classes)")  # fmt: skip
        if self.initial.dtype is torch.bfloat16:
            raise InputError(f"'{name}' has parameters in bfloat16; co-simulation learns in "
                             "float32, float16 or float64 (workload.dtype)")  # fmt: skip

    def _tensors(
        self, inputs: Any, labels: Any, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        shape, each = like.shape[1:], inputs[0].size
        if each != shape.numel():
            raise InputError(f"data '{self.data.name}' has samples of {each} numbers; "
                             f"'{self.job.workload.name}' takes {tuple(shape)}")  # fmt: skip
        made = torch.from_numpy(np.ascontiguousarray(inputs)).reshape(-1, *shape).to(like.dtype)
        return made, torch.from_numpy(np.ascontiguousarray(labels))

    def learner(self, rank: int, params: torch.Tensor | None = None) -> Learner:
        """Return one rank, with the parameters that all begin with, or with given ones."""
        batches = None
        if rank < self.learners:
            batches = self.data.batches(rank, self.learners, self.batch, self.job.seed)
        own = self.initial.clone() if params is None else params
        return Learner(self, rank, batches, own)

    def all_learners(self, ranks: int, shared: bool = False) -> list[Learner]:
        """Return all ranks, with parameters of their own or in common memory."""
        common = self.initial.clone() if shared else None
        return [self.learner(rank, common) for rank in range(ranks)]

    def optimizer(self, weights: torch.Tensor) -> torch.optim.Optimizer:
        """Return a new optimizer of flat weights, of the kind that the twin has."""
        own = self.twin.optimizer
        if own is None:
            if self._rate is None:
                raise InputError(f"'{self.job.workload.name}' has no optimizer: give a "
                                 "learning_rate")  # fmt: skip
            return torch.optim.SGD([weights], lr=self._rate)
        rate = {} if self._rate is None else {"lr": self._rate}
        return type(own)([weights], **{**own.defaults, **rate})

    def loss_of(self, index: IntArray) -> torch.Tensor:
        """Return the loss of some samples, of which gradients can be asked."""
        chosen = torch.from_numpy(index)
        loss: torch.Tensor = self._step(self.inputs[chosen], self.labels[chosen]).forward()
        return loss

    def _step(self, inputs: torch.Tensor, labels: torch.Tensor) -> Twin:
        own = self.twin
        if own.target is None:
            args = (inputs, labels) if len(own.args) == 2 else (inputs,)
            return replace(own, args=args)
        return replace(own, args=(inputs,), target=labels)

    def look_at(self, params: torch.Tensor) -> None:
        """Let the module have these parameters."""
        if params is self._user:
            return
        self._user, at = params, 0
        for parameter in self.held:
            size = parameter.numel()
            parameter.data = params[at : at + size].view(parameter.shape)
            at += size

    def judge(self, params: torch.Tensor) -> Judgement:
        """Return how good parameters are on the test samples."""
        self.look_at(params)
        step = self._step(*self._test)
        step.module.eval()
        with torch.no_grad():
            output = step.module(*step.args)
            loss = output if step.loss is None else step.loss(output, step.target)
        step.module.train()
        labels = self._test[1]
        accuracy = None
        if step.loss is not None and not labels.is_floating_point() and output.dim() == 2:
            accuracy = float((output.argmax(1) == labels).float().mean())
        return Judgement(float(loss.float().mean()), accuracy)


class Learner(TorchValues):
    """Hold the buffers of one rank that learns, or that keeps what others learn.

    Parameters
    ----------
    lesson : what all learn
    rank : which one
    batches : the samples of its batches, one after the other; None: it computes no gradients
    params : the parameters with which it begins, and which it changes
    """

    def __init__(
        self, lesson: Lesson, rank: int, batches: Iterator[IntArray] | None, params: torch.Tensor
    ) -> None:
        self.rank = rank
        self.works = LearnerWorks(self, lesson, batches, stream(lesson.job.seed, rank, "torch"))
        super().__init__(self.works, tensors={"params": params})
        self.tensors["grad"] = torch.zeros_like(lesson.initial)
        self._terms: Counter[str] = Counter()
        at = 0
        for bucket in lesson.job.buckets:
            size = int(bucket.nbytes) // lesson.initial.element_size()
            for whole, name in (("grad", bucket.name), ("params", f"params.{bucket.name}")):
                self.tensors[name] = self.tensors[whole][at : at + size]
            at += size

    @property
    def params(self) -> torch.Tensor:
        """Return the parameters, flat."""
        return self.tensors["params"]

    def read(self, buffer: str) -> Any:
        """Return a copy of a buffer; of a sum, which begins anew, with the number of its terms."""
        if buffer == _UPDATE and buffer not in self.tensors:
            buffer = "params"
        contents = self.named(buffer).clone()
        terms = self._terms.pop(buffer, 0)
        return Weighted(contents, terms) if terms else contents

    def write(self, buffer: str, payload: Any) -> None:
        """Replace a buffer's contents, or their beginning."""
        self._terms.pop(buffer, None)
        if isinstance(payload, Weighted):
            payload, self._terms[buffer] = payload
        self.named(buffer, like=payload)[: len(payload)] = payload

    def reduce(self, payloads: Sequence[Any], op: str) -> torch.Tensor:
        """Return the reduction of payloads: one after the other, in their order."""
        if op not in ("sum", "mean"):
            return super().reduce(payloads, op)
        total: torch.Tensor = payloads[0].clone()
        for payload in payloads[1:]:
            total += payload
        return total / len(payloads) if op == "mean" else total

    def named(self, name: str, like: torch.Tensor | None = None) -> torch.Tensor:
        """Return a tensor by its name: a known one, a part of one, or a new one."""
        found = self.tensors.get(name)
        if found is not None:
            return found
        match = _PART.match(name)
        if match is not None:
            whole = self.named(match[1])
            made = whole[part(len(whole), int(match[2]), int(match[3]))]
        elif like is not None:
            made = torch.zeros_like(like)
        else:
            raise UnknownNameError("buffer", name, self.tensors, "what a learner holds")
        self.tensors[name] = made
        return made

    def add(self, incoming: str, total: str) -> None:
        """Add a buffer to a sum; the first term begins it."""
        came = self.named(incoming)
        into = self.named(total, like=came)
        if self._terms[total]:
            into += came
        else:
            into.copy_(came)
        self._terms[total] += self._terms.get(incoming, 1)

    def mean(self, names: Sequence[str]) -> torch.Tensor:
        """Return the mean of a sum, which begins anew; or that of some buffers."""
        terms = self._terms.pop(names[0], 0)
        if terms:
            return self.named(names[0]) / terms
        return self.reduce([self.named(name) for name in names], "mean")


class LearnerWorks:
    """Do the works of one rank.

    Parameters
    ----------
    learner : holds the buffers
    lesson : what is learned
    batches : the samples of each batch; None: it computes no gradients
    draw : of what modules draw, as dropout does

    `losses` are those of all batches; `updated` are the parts of the parameters that it has changed
    itself, by name.
    """

    def __init__(
        self, learner: Learner, lesson: Lesson, batches: Iterator[IntArray] | None,
        draw: np.random.Generator,
    ) -> None:  # fmt: skip
        self._learner, self._lesson, self._batches, self._draw = learner, lesson, batches, draw
        self._optimizers: dict[str, tuple[torch.nn.Parameter, torch.optim.Optimizer]] = {}
        self._gradient = lesson.initial
        self._batches_done, self._version = 0, -1
        self.losses: list[float] = []
        self.updated: dict[str, torch.Tensor] = {}
        self._does: dict[str, Callable[[Work], object]] = {
            "forward": self._forward, "backward": self._backward, "gradient": self._both,
            "update": self._update, "step": self._step, "local_step": self._step,
            "accumulate": lambda work: learner.add(*work.reads), "average": self._average,
            "outer_step": self._outer, "input": lambda _: None,
        }  # fmt: skip
        codes = Codes(learner.rank, lesson.job.seed)
        self._does |= dict.fromkeys(CODING, lambda work: codes(work, learner.tensors))

    def __call__(self, work: Work, reached: Reached) -> None:
        """Do a work; marks are told when it is done."""
        if work.name not in self._does:
            raise UnknownNameError("work", work.name, self._does, "what a learner can do")
        self._does[work.name](work)
        for mark, _ in work.marks:
            reached(mark)

    def _forward(self, work: Work) -> None:
        """Compute loss and gradient at once: another rank may have the module until backward."""
        if work is not self._lesson.job.works.get(work.name):
            raise InputError(f"'{work.name}' is not the model's own: batches of other sizes than "
                             "the model's are simulated, not learned from")  # fmt: skip
        if self._batches is None:
            raise InputError("a rank that has no data computes a gradient; the plan's `learners` "
                             "says which ranks have data")  # fmt: skip
        self._lesson.look_at(self._learner.params)
        # `torch.manual_seed` keeps a stack trace for each kind of device that is not in use yet.
        torch.default_generator.manual_seed(int(self._draw.integers(2**63)))
        loss = self._lesson.loss_of(next(self._batches))
        gradients = torch.autograd.grad(loss, self._lesson.held)
        self._gradient = torch.cat([one.flatten() for one in gradients])
        self.losses.append(float(loss.detach()))

    def _backward(self, _: Work) -> None:
        """Keep the gradient; of several batches on the same parameters the mean."""
        version = self._learner.params._version
        if version != self._version:
            self._version, self._batches_done = version, 0
        self._batches_done += 1
        kept = self._learner.tensors["grad"]
        if self._batches_done == 1:
            kept.copy_(self._gradient)
        else:
            kept += (self._gradient - kept) / self._batches_done

    def _both(self, work: Work) -> None:
        self._batches_done = 0
        self._forward(work)
        self._backward(work)

    def _step(self, work: Work) -> None:
        self._both(work)
        self._apply("params", self._learner.tensors["grad"])

    def _update(self, work: Work) -> None:
        self._apply(work.writes[0], self._learner.mean(work.reads[-1:]))

    def _apply(self, name: str, gradient: torch.Tensor) -> None:
        """Let the optimizer of some parameters use a gradient."""
        self._batches_done = 0
        if name not in self._optimizers:
            self.updated[name] = self._learner.named(name)
            weights = torch.nn.Parameter(self.updated[name])
            self._optimizers[name] = weights, self._lesson.optimizer(weights)
        weights, optimizer = self._optimizers[name]
        weights.grad = gradient
        optimizer.step()

    def _average(self, work: Work) -> None:
        mean = self._learner.mean(work.reads)
        self._learner.named(work.writes[0]).copy_(mean)

    def _outer(self, work: Work) -> None:
        """Take the change of a round for a gradient, with Nesterov's momentum."""
        tensors = self._learner.tensors
        mean, before, momentum = (tensors.get(name) for name in work.writes)
        if mean is None:
            raise UnknownNameError("buffer", work.writes[0], tensors, "what a learner holds")
        if before is None or momentum is None:
            before, momentum = self._lesson.initial.clone(), torch.zeros_like(mean)
            tensors |= dict(zip(work.writes[1:], (before, momentum), strict=True))
        change = before - mean
        momentum.mul_(OUTER_MOMENTUM).add_(change)
        before.sub_(OUTER_RATE * (change + OUTER_MOMENTUM * momentum))
        mean.copy_(before)
