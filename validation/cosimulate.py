"""Train for real, on a clock that is simulated: accuracy against predicted time.

Real gradients are computed in the order, with the staleness and on the samples that the simulated
machine dictates. `cosimulate` gives the run, and how good the model is along it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.actions import (
    NOW,
    Action,
    Collective,
    Compute,
    Count,
    Rank,
    Send,
    Start,
)  # fmt: skip
from simulator.engine.execute import execute, place
from simulator.errors import InputError, UnknownNameError
from simulator.formula import check_whole, numbers
from simulator.ops import FloatArray, IntArray
from simulator.protocols import Device, Machine, Placement, Plan
from simulator.run import Run
from simulator.simulate import check_memory, job_of, machine_of, run_of
from simulator.units import format_quantity
from simulator.workload import Job, Pattern, Workload
from workloads.datasets import Dataset

if TYPE_CHECKING:
    import pandas as pd

    from validation.torch_learning import Learner, Lesson

AXES = ("time_s", "samples", "sent_bytes", "steps")
"""Against what learning is drawn."""
_LEARNS = ("gradient", "forward", "step", "local_step")
"""Works that learn from a batch."""
_UPDATES = ("update", "step", "local_step")
"""Works that change a model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cosimulation:
    """Hold how good a model is along a simulated run; arrays have one entry a judgement.

    Parameters
    ----------
    run : what the machine did
    data : what was learned from
    time_s : simulated, seconds
    steps : of the job; where the plan does not tell them, updates of the first rank that keeps the
        model
    samples : of which gradients had been computed, by all ranks
    sent_bytes : what ranks had sent: messages, and collectives as algorithms that send no more than
        they must, bytes
    loss, accuracy : on test samples; NaN where labels are no classes
    training_loss : mean over the batches since the judgement before; NaN where there were none
    parameters : of the model at the end, flat, in the order in which their gradients are ready
    """

    run: Run
    data: Dataset
    time_s: FloatArray
    steps: FloatArray
    samples: FloatArray
    sent_bytes: FloatArray
    loss: FloatArray
    accuracy: FloatArray
    training_loss: FloatArray
    parameters: FloatArray = field(repr=False)

    def to_accuracy(self, wanted: float, axis: str = "time_s") -> float | None:
        """Return the time, samples, bytes or steps until an accuracy was first seen; None: never.

        Raises
        ------
        UnknownNameError : no such axis
        """
        if axis not in AXES:
            raise UnknownNameError("axis", axis, AXES)
        reached = np.flatnonzero(self.accuracy >= wanted)
        return float(getattr(self, axis)[reached[0]]) if len(reached) else None

    def table(self) -> pd.DataFrame:
        """Return one row a judgement."""
        import pandas as pd

        names = (*AXES, "loss", "accuracy", "training_loss")
        return pd.DataFrame({name: getattr(self, name) for name in names})

    def __str__(self) -> str:
        run, plan = self.run, type(self.run.plan).__name__
        lines = [f"{run.workload.name} learns {self.data.name} ({self.data.distribution}) on "
                 f"{run.machine.name}, plan {plan}, {run.placement.size} ranks",
                 "  time       steps     samples      sent       loss   accuracy"]  # fmt: skip
        for at in range(len(self.time_s)):
            accuracy = self.accuracy[at]
            sent = format_quantity(float(self.sent_bytes[at]), "bytes")
            shown = "-" if math.isnan(accuracy) else f"{100 * accuracy:.1f} %"
            lines.append(
                f"  {format_quantity(float(self.time_s[at]), 's'):<10} {self.steps[at]:<9g} "
                f"{self.samples[at]:<12g} {sent:<10} "
                f"{self.loss[at]:<8.4g} {shown}"
            )
        return "\n".join(lines)


def cosimulate(
    model: Workload,
    data: Dataset,
    plan: Plan,
    on: Machine | Device,
    *,
    steps: int = 100,
    seed: int = 0,
    learning_rate: float | None = None,
    judgements: int = 20,
) -> Cosimulation:
    """Return how a model learns on a machine under a plan, against simulated time.

    Each gradient is computed by torch, on one thread, when the simulated rank begins to compute
    it, on the parameters that this rank has then; messages carry tensors. Equal arguments give
    equal results in any process.

    Parameters
    ----------
    model : the step that trains, with the batch of one rank; it needs a twin, as models of the
        registry and captured modules have
    data : what is learned from, and how it is dealt to ranks
    plan : who does what in which order
    on : devices and network, or one device
    steps : of the job, as the plan counts them
    seed : of weights, batches and all other draws
    learning_rate : of each update, also of one by a single gradient; None: the optimizer's
    judgements : how often the model is judged along the run, besides at its beginning

    Raises
    ------
    InputError : the model does not train, or does not fit the data; ranks exchange nothing
    UnknownNameError : the model has no twin, or the plan does works that nobody can do
    DoesNotFitError, ProgramError : as of `simulate`

    >>> import scalemodel as sm
    >>> model = sm.logistic_regression(batch=16, features=16, classes=4)
    >>> machine = sm.Machine("two", [sm.device("raspberry-pi-4")])
    >>> found = cosimulate(model, sm.blobs(), sm.Single(), machine, steps=200, learning_rate=0.1)
    >>> bool(found.accuracy[-1] > 0.9)
    True
    """
    from validation.torch_learning import Lesson
    from validation.torch_threads import torch_threads

    check_whole("judgements", judgements, 1)
    if not isinstance(data, Dataset):
        raise InputError(f"data: expected a Dataset, such as digits(), got {data!r}")
    if learning_rate is not None:
        numbers("learning_rate", learning_rate)
    machine = machine_of(model, on)
    job = job_of(model, plan, steps, seed)
    placement = place(plan, machine)
    check_memory(machine, [(model, placement)])
    roles = Roles.of(plan, placement.size)
    with torch_threads(1), _own_randomness():
        lesson = Lesson(job, data, roles.learners, learning_rate)
        ranks = [lesson.learner(rank) for rank in range(placement.size)]
        watch = _Watch(lesson, ranks, roles)
        watch.every = max(1, math.ceil(watch.ticks(plan, machine) / judgements))
        watch.note(0.0)
        outcome = execute(job, machine, Watched(plan, watch), values=ranks)
        watch.end(outcome.time_s)
    exchanged = outcome.collectives or any(rank.sent_messages for rank in outcome.ranks)
    if placement.size > 1 and not exchanged:
        raise InputError(f"plan {type(plan).__name__}: {placement.size} ranks exchange nothing, "
                         "so each has learned a model of its own; memory that ranks share "
                         "(hogwild) is not co-simulated")  # fmt: skip
    run = run_of(job, machine, plan, placement, outcome)
    columns = np.array(watch.rows, dtype=float).T
    names = ("time_s", "steps", "samples", "sent_bytes", "loss", "accuracy", "training_loss")
    return Cosimulation(run=run, data=data, parameters=watch.model().numpy(),
                        **dict(zip(names, columns, strict=True)))  # fmt: skip


def _own_randomness() -> Any:
    import torch

    return torch.random.fork_rng(devices=())


@dataclass(frozen=True, slots=True)
class Roles:
    """Say which ranks learn from data, and which keep the model.

    A plan whose ranks are not all alike has methods `learners(ranks)`: how many ranks learn, the
    first ones; and `keepers(ranks)`: the ranks that together keep the model.

    Parameters
    ----------
    learners : how many ranks learn
    keepers : the ranks that keep the model; None: all, and it is their mean
    """

    learners: int
    keepers: range | None = None

    @classmethod
    def of(cls, plan: Any, ranks: int) -> Roles:
        """Return the roles of so many ranks of a plan, or of the one that it disturbs."""
        while not hasattr(plan, "learners") and hasattr(plan, "plan"):
            plan = plan.plan
        if not hasattr(plan, "learners"):
            return cls(ranks)
        return cls(plan.learners(ranks), plan.keepers(ranks))

    @property
    def first(self) -> int:
        """Return the first rank that keeps the model."""
        return 0 if self.keepers is None else self.keepers[0]


class _Watch:
    """Judge the model now and then, and count what was learned from and sent."""

    def __init__(self, lesson: Lesson, ranks: list[Learner], roles: Roles) -> None:
        self._lesson, self._ranks, self._roles = lesson, ranks, roles
        self.every = 1
        self.tells_steps = False
        self.samples = self.sent_bytes = 0.0
        self._done = 0
        self._heard = [0] * len(ranks)
        self.rows: list[tuple[float, ...]] = []

    def ticks(self, plan: Plan, machine: Machine) -> int:
        """Return how often the model changes; find out whether the plan tells when a step ends."""
        trial = _Trial(self._roles.first)
        whole = self._lesson.job
        once = job_of(whole.workload, plan, 1, whole.seed)
        execute(once, machine, Watched(plan, trial), record=False, fold=False)
        self.tells_steps = trial.steps > 0
        return whole.steps * (trial.steps or trial.updates)

    def after(self, rank: int, action: Action, size: int) -> bool:
        """Note an action that has ended; say whether the model is to be judged."""
        inner = action.action if isinstance(action, Start) else action
        if isinstance(inner, Compute) and inner.work.name in _LEARNS:
            self.samples += self._lesson.batch
        elif isinstance(inner, (Send, Collective)):
            self.sent_bytes += bytes_sent(inner, size)
        tick = _is_step(inner) if self.tells_steps else (
            rank == self._roles.first and _is_update(inner))  # fmt: skip
        self._done += tick
        return tick and self._done % self.every == 0

    def note(self, time_s: float) -> None:
        """Judge the model as it is now."""
        judged = self._lesson.judge(self.model())
        fresh = [
            loss
            for at, learner in enumerate(self._ranks)
            for loss in learner.works.losses[self._heard[at] :]
        ]
        self._heard = [len(learner.works.losses) for learner in self._ranks]
        accuracy = math.nan if judged.accuracy is None else judged.accuracy
        training = math.fsum(fresh) / len(fresh) if fresh else math.nan
        self.rows.append((time_s, self._done, self.samples, self.sent_bytes, judged.loss, accuracy,
                          training))  # fmt: skip

    def end(self, time_s: float) -> None:
        """Judge the model at the end, unless nothing has happened since it was judged."""
        at_s, done = self.rows[-1][:2]
        if done < self._done or (at_s < time_s and not self.tells_steps):
            self.note(time_s)

    def model(self) -> Any:
        """Return the model's parameters: those that servers keep, or the mean of all ranks'."""
        if self._roles.keepers is None:
            params = [rank.params for rank in self._ranks]
            if all(bool((one == params[0]).all()) for one in params[1:]):
                return params[0].clone()
            return self._ranks[0].reduce(params, "mean")
        keepers = [self._ranks[rank] for rank in self._roles.keepers]
        model = keepers[0].params.clone()
        for keeper in keepers[1:]:
            for kept in keeper.works.updated.values():
                at = kept.storage_offset()
                model[at : at + len(kept)] = kept
        return model


@dataclass(slots=True)
class _Trial:
    """Count what tells of steps, in a run without values."""

    first: int
    steps: int = 0
    updates: int = 0

    def after(self, rank: int, action: Action, size: int) -> bool:
        """Note an action that has ended."""
        self.steps += _is_step(action)
        self.updates += rank == self.first and _is_update(action)
        return False

    def note(self, time_s: float) -> None:
        """Judge nothing."""


def _is_step(action: object) -> bool:
    return isinstance(action, Count) and action.name == "steps"


def _is_update(action: object) -> bool:
    return isinstance(action, Compute) and action.work.name in _UPDATES


def bytes_sent(action: Send | Collective, size: int) -> float:
    """Return what one rank sends in an action, bytes; of so many ranks.

    Of a collective it is what an algorithm sends that sends no more than it must.

    >>> from simulator.workload import Buffer
    >>> bytes_sent(Rank(0, 4).all_reduce(Buffer("grad", 8.0)), 4)
    12.0
    """
    if isinstance(action, Send):
        return action.buffer.nbytes
    ranks = action.group.size
    if action.kind in ("broadcast", "reduce"):
        return action.buffer.nbytes * (ranks - 1) / ranks
    return action.buffer.nbytes * Pattern(action.kind, action.buffer.nbytes).bus_factor(ranks)


@dataclass(frozen=True, slots=True)
class Watched:
    """Be a plan whose actions are noted when they have ended.

    Parameters
    ----------
    plan : that is watched
    watch : is told of each action, and judges the model when it says so
    """

    plan: Plan
    watch: _Watch | _Trial

    def place(self, machine: Machine) -> Placement:
        """Return where each rank runs."""
        return self.plan.place(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return which ranks are alike."""
        return self.plan.copies(ranks)

    def program(self, rank: Rank, job: Job) -> Generator[Action, Any, None]:
        """Yield the actions of one rank."""
        send: Callable[[Any], Action] = self.plan.program(rank, job).send
        answer: Any = None
        while True:
            try:
                action = send(answer)
            except StopIteration:
                return
            answer = yield action
            if self.watch.after(rank.id, action, rank.size):
                self.watch.note((yield NOW))
