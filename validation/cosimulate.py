"""Train for real, on a clock that is simulated: accuracy against predicted time.

Real gradients are computed in the order, with the staleness and on the samples that the simulated
machine dictates. `cosimulate` gives the run, and how good the model is along it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

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
from simulator.engine.outcome import Outcome
from simulator.errors import InputError, UnknownNameError
from simulator.formula import check_single, check_whole, numbers
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
STEPS, JUDGEMENTS = 100, 20
"""Of a job, and how often the model is judged, where nothing else is said."""
FINENESS = 0.05
"""How much the steps grow from one judgement to the next where a target is looked for: as much may
the time to it be too late."""


class Judging(TypedDict, total=False):
    """Say when a model is judged, and what that is for.

    Parameters
    ----------
    judgements : how often the model is judged along the run, besides at its beginning
    target : an accuracy at which training stops, from 0 to 1; the model is judged more often
    progress : told of changes of the model, how many are done and of how many
    """

    judgements: int
    target: float | None
    progress: Callable[[int, int], None] | None


class InterruptedLearning(KeyboardInterrupt):
    """Say that the user ended a co-simulation; hold what was `found` until then."""

    def __init__(self, found: Cosimulation) -> None:
        super().__init__("interrupted")
        self.found = found


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
    steps: int | None = None,
    epochs: float | None = None,
    seed: int = 0,
    learning_rate: float | None = None,
    **judging: Unpack[Judging],
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
    steps : of the job, as the plan counts them; None: 100, or as many as the epochs take
    epochs : in place of steps: how often as many samples are learned from as there are
    seed : of weights, batches and all other draws
    learning_rate : of each update, so that plans whose every gradient is an update of its own
        (asynchronous) move further in a step than those that average first; None: the optimizer's
    **judging : judgements (20), target (None) and progress (None): see `Judging`

    Raises
    ------
    InputError : the model does not train, or does not fit the data; ranks exchange nothing
    UnknownNameError : the model has no twin, or the plan does works that nobody can do
    DoesNotFitError, ProgramError : as of `simulate`
    InterruptedLearning : the user interrupts it; holds what was found until then

    >>> import scalemodel as sm
    >>> model = sm.logistic_regression(batch=16, features=16, classes=4)
    >>> machine = sm.Machine("two", [sm.device("raspberry-pi-4")])
    >>> found = cosimulate(model, sm.blobs(), sm.Single(), machine, epochs=2, learning_rate=0.1)
    >>> bool(found.accuracy[-1] > 0.9)
    True
    """
    from validation.torch_learning import Lesson
    from validation.torch_threads import torch_threads

    judged = _checked(judging)
    if not isinstance(data, Dataset):
        raise InputError(f"data: expected a Dataset, such as digits(), got {data!r}")
    if learning_rate is not None:
        check_single("learning_rate", learning_rate)
        learning_rate = float(numbers("learning_rate", learning_rate))
    machine = machine_of(model, on)
    placement = place(plan, machine)
    check_memory(machine, [(model, placement)])
    roles = Roles.of(plan, placement.size)
    trial = _Trial.of(job_of(model, plan, 1, seed), machine, plan, roles)
    job = job_of(model, plan, trial.steps_of(steps, epochs, data), seed)
    with torch_threads(1), own_randomness():
        lesson = Lesson(job, data, roles.learners, learning_rate)
        ranks = lesson.all_learners(placement.size, roles.shared)
        watch = _Watch(lesson, ranks, roles, trial, judged)

        def found(outcome: Outcome | None, interrupted: bool = False) -> Cosimulation:
            run = _run(watch.job(outcome is not None), machine, plan, placement, outcome)
            if interrupted:
                with suppress(_ReachedError):
                    watch.end(run.time_s)
            return Cosimulation(run=run, data=data, parameters=watch.model().numpy(),
                                **watch.columns())  # fmt: skip

        try:
            return found(_watched(job, machine, plan, watch, ranks))
        except KeyboardInterrupt:
            raise InterruptedLearning(found(None, interrupted=True)) from None


def _checked(judging: Judging) -> Judging:
    """Return what is said of judging, once it is checked."""
    for name in judging:
        if name not in Judging.__annotations__:
            raise UnknownNameError("argument", name, Judging.__annotations__, "cosimulate")
    check_whole("judgements", judging.get("judgements", JUDGEMENTS), 1)
    target = judging.get("target")
    if target is not None:
        numbers("target", target, high=1.0)
    return judging


def _watched(
    job: Job, machine: Machine, plan: Plan, watch: _Watch, ranks: list[Learner]
) -> Outcome | None:
    """Return what comes of a job that is watched; None where it stops at its target."""
    try:
        watch.note(0.0)
        outcome = execute(job, machine, Watched(plan, watch), values=ranks)
        watch.end(outcome.time_s)
    except _ReachedError:
        return None
    return outcome


def _run(
    job: Job, machine: Machine, plan: Plan, placement: Placement, outcome: Outcome | None
) -> Run:
    """Return the run of what was done; without an outcome, of as many whole steps.

    Raises
    ------
    InputError : ranks exchange nothing
    """
    outcome = execute(job, machine, plan, fold=False) if outcome is None else outcome
    exchanged = outcome.collectives or any(rank.sent_messages for rank in outcome.ranks)
    if placement.size > 1 and not exchanged and not Roles.of(plan, placement.size).shared:
        raise InputError(f"plan {type(plan).__name__}: {placement.size} ranks exchange nothing, "
                         "so each has learned a model of its own")  # fmt: skip
    return run_of(job, machine, plan, placement, outcome)


def own_randomness() -> Any:
    """Return a context that leaves torch's own draws as they were."""
    import torch

    return torch.random.fork_rng(devices=())


@dataclass(frozen=True, slots=True)
class Roles:
    """Say which ranks learn from data, and which keep the model.

    A plan whose ranks are not all alike has methods `learners(ranks)`: how many ranks learn, the
    first ones; and `keepers(ranks)`: the ranks that together keep the model. Where ranks have the
    parameters in common memory it has `shared`: their buffer.

    Parameters
    ----------
    learners : how many ranks learn
    keepers : the ranks that keep the model; None: all, and it is their mean
    shared : whether ranks have the parameters in common memory
    """

    learners: int
    keepers: range | None = None
    shared: bool = False

    @classmethod
    def of(cls, plan: Any, ranks: int) -> Roles:
        """Return the roles of so many ranks of a plan, or of the one that it disturbs."""
        while not hasattr(plan, "learners") and hasattr(plan, "plan"):
            plan = plan.plan
        if not hasattr(plan, "learners"):
            return cls(ranks)
        return cls(plan.learners(ranks), plan.keepers(ranks), hasattr(plan, "shared"))

    @property
    def first(self) -> int:
        """Return the first rank that keeps the model."""
        return 0 if self.keepers is None else self.keepers[0]


class _ReachedError(Exception):
    """Say that the target is reached."""


class _Watch:
    """Judge the model now and then, and count what was learned from and sent."""

    def __init__(
        self, lesson: Lesson, ranks: list[Learner], roles: Roles, trial: _Trial, judging: Judging
    ) -> None:
        self._lesson, self._ranks, self._roles = lesson, ranks, roles
        self._tells_steps, self._ticks_of_a_step = trial.steps > 0, trial.ticks
        self._ticks = lesson.job.steps * trial.ticks
        self._every = max(1, math.ceil(self._ticks / judging.get("judgements", JUDGEMENTS)))
        self._target, self._tell = judging.get("target"), judging.get("progress")
        self._samples = self._sent_bytes = 0.0
        self._done, self._fine = 0, 1.0
        self._heard = [0] * len(ranks)
        self._rows: list[tuple[float, ...]] = []

    def job(self, whole: bool) -> Job:
        """Return the job; unless it was done as a whole, of the steps that have ended."""
        job = self._lesson.job
        done = max(1, self._done // self._ticks_of_a_step)
        return job if whole else replace(job, steps=min(done, job.steps))

    def after(self, rank: int, action: Action, size: int) -> bool:
        """Note an action that has ended; say whether the model is to be judged."""
        inner = action.action if isinstance(action, Start) else action
        if isinstance(inner, Compute) and inner.work.name in _LEARNS:
            self._samples += self._lesson.batch
        elif isinstance(inner, (Send, Collective)):
            self._sent_bytes += bytes_sent(inner, size)
        tick = _is_step(inner) if self._tells_steps else (
            rank == self._roles.first and _is_update(inner))  # fmt: skip
        return tick and self._ticked()

    def _ticked(self) -> bool:
        """Note that the model has changed; say whether it is to be judged."""
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._ticks)
        if self._target is not None and self._done >= self._fine:
            self._fine = self._done * (1 + FINENESS)
            return True
        return self._done % self._every == 0

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
        self._rows.append((time_s, self._done, self._samples, self._sent_bytes, judged.loss,
                           accuracy, training))  # fmt: skip
        if self._target is not None and accuracy >= self._target:
            raise _ReachedError

    def end(self, time_s: float) -> None:
        """Judge the model at the end, unless nothing has happened since it was judged."""
        at_s, done = self._rows[-1][:2]
        if done < self._done or (at_s < time_s and not self._tells_steps):
            self.note(time_s)

    def columns(self) -> dict[str, FloatArray]:
        """Return what was noted, by name."""
        names = ("time_s", "steps", "samples", "sent_bytes", "loss", "accuracy", "training_loss")
        return dict(zip(names, np.array(self._rows, dtype=float).T, strict=True))

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
    """Count what tells of steps, in a run of one step without values.

    Parameters
    ----------
    first : the first rank that keeps the model
    steps, updates : how often the plan tells that a step has ended, and that rank updates
    samples : that the step learns from
    """

    first: int
    steps: int = 0
    updates: int = 0
    samples: float = 0.0

    @classmethod
    def of(cls, job: Job, machine: Machine, plan: Plan, roles: Roles) -> _Trial:
        """Return what a job of one step tells."""
        trial = cls(roles.first)
        outcome = execute(job, machine, Watched(plan, trial), record=False, fold=False)
        trial.samples = outcome.counts.get("samples", job.workload.samples * roles.learners)
        return trial

    @property
    def ticks(self) -> int:
        """Return how often the model changes in a step."""
        return max(1, self.steps or self.updates)

    def steps_of(self, steps: int | None, epochs: float | None, data: Dataset) -> int:
        """Return the steps that are wanted, or that so many epochs take."""
        if epochs is None:
            return STEPS if steps is None else steps
        if steps is not None:
            raise InputError(f"give steps or epochs, not both; got {steps} and {epochs}")
        numbers("epochs", epochs, above=True)
        return math.ceil(epochs * len(data.labels) / self.samples)

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
