"""Disturb any plan: slow ranks, works of varying length, failures and restarts.

Their parameters stand beside those of the plan that they disturb:
`find_plan("data-parallel", slow_ranks=1)` is `Stragglers(DataParallel(), slow_ranks=1)`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.actions import NOW, Action, Compute, Count, Rank, Sleep, Start
from simulator.errors import InputError
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Plan, Program
from simulator.streams import stream
from simulator.units import format_quantity
from simulator.workload import Job
from workloads.plans.checks import disturbable, not_negative, number, one_of, positive, whole

DISTRIBUTIONS = ("exponential", "lognormal")


@dataclass(frozen=True, slots=True)
class Stragglers:
    """Let works of a plan take longer: all of some ranks, and each by chance.

    Parameters
    ----------
    plan : what is disturbed
    slow_ranks : how many ranks are slow, the first ones
    slowdown : how many times as long the works of slow ranks take
    delay : of each work by chance, over its time: the mean, where exponential; the factor of the
        absolute value of a normal number in its logarithm, where lognormal
    distribution : "exponential" or "lognormal"
    delayed : share of the works that are delayed by chance, others are not at all
    """

    plan: Plan
    slow_ranks: int = 0
    slowdown: float = 2.0
    delay: float = 0.0
    distribution: str = "exponential"
    delayed: float = 1.0

    def __post_init__(self) -> None:
        disturbable("of stragglers", self.plan)
        whole("of stragglers", 0, slow_ranks=self.slow_ranks)
        not_negative("of stragglers", delay=self.delay)
        one_of("of stragglers", "distribution", self.distribution, DISTRIBUTIONS)
        number("of stragglers", "slowdown", self.slowdown, low=1.0)
        number("of stragglers", "delayed", self.delayed, high=1.0)

    def place(self, machine: Machine) -> Placement:
        """Return where the plan puts its ranks.

        Raises
        ------
        InputError : there are fewer ranks than slow ones
        """
        placement = self.plan.place(machine)
        if self.slow_ranks > placement.size:
            raise InputError(f"plan of stragglers: slow_ranks: at most the {placement.size} "
                             f"ranks there are; got {self.slow_ranks}")  # fmt: skip
        return placement

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: ranks differ."""
        return None

    def program(self, rank: Rank, job: Job) -> Program:
        """Do what the plan does, its works in more time."""
        lasting = self.slowdown if rank.id < self.slow_ranks else 1.0
        draw = stream(job.seed, rank.id, "delays of works")
        program, answer = self.plan.program(rank, job), None
        while (action := _next(program, answer)) is not None:
            work = _computed(action)
            if work is not None:
                action = _slowed(action, work, lasting * self._factor(draw))
            answer = yield action

    def _factor(self, draw: np.random.Generator) -> float:
        """Return how many times as long one work takes by chance."""
        if not self.delay or (self.delayed < 1 and draw.random() >= self.delayed):
            return 1.0
        if self.distribution == "lognormal":
            return math.exp(self.delay * abs(draw.standard_normal()))
        return 1.0 + self.delay * draw.standard_exponential()


@dataclass(frozen=True, slots=True)
class Failures:
    """Let ranks of a plan fail, and go on from their last checkpoint.

    A rank that fails restarts, and does once more what it did since its last checkpoint; whoever
    waits for it waits, as all would who started again with it. Failures of a rank come by chance
    at an even rate, also while it does something once more, or writes a checkpoint, but not while
    it restarts: w seconds between checkpoints take (exp(w / mtbf) - 1) (mtbf + restart) on average
    (Daly, 2006). They take effect, and checkpoints are written, between works. Of several ranks
    that is true to first order: time in which one waits for others counts as its own.

    Parameters
    ----------
    plan : what is disturbed
    mtbf_s : mean time between failures of one rank, seconds; None: none fails
    restart_s : from a failure until the rank has read its checkpoint, seconds
    checkpoint_every_s : time between checkpoints, which all ranks write at the same times, seconds;
        None: there are none, a rank starts from the beginning
    checkpoint_s : how long one takes to write, seconds
    """

    plan: Plan
    mtbf_s: float | None = None
    restart_s: float = 0.0
    checkpoint_every_s: float | None = None
    checkpoint_s: float = 0.0

    def __post_init__(self) -> None:
        disturbable("of failures", self.plan)
        given = {"mtbf_s": self.mtbf_s, "checkpoint_every_s": self.checkpoint_every_s}
        positive(
            "of failures", **{name: value for name, value in given.items() if value is not None}
        )
        not_negative("of failures", restart_s=self.restart_s, checkpoint_s=self.checkpoint_s)

    def place(self, machine: Machine) -> Placement:
        """Return where the plan puts its ranks."""
        return self.plan.place(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: ranks fail at times of their own."""
        return None

    def program(self, rank: Rank, job: Job) -> Program:
        """Do what the plan does, with checkpoints and restarts between works."""
        life = _Life(self, stream(job.seed, rank.id, "failures"))
        every_s = _or_never(self.checkpoint_every_s)
        due_s, program, answer = every_s, self.plan.program(rank, job), None
        while (action := _next(program, answer)) is not None:
            if _computed(action) is not None:
                now_s = yield from life.until((yield NOW))
                if now_s >= due_s:
                    yield Sleep(self.checkpoint_s)
                    now_s = yield from life.until(now_s + self.checkpoint_s)
                    life.saved_s = now_s
                    due_s = every_s * (now_s // every_s + 1)
            answer = yield action
        yield from life.until((yield NOW))


MOST_ATTEMPTS = 1e4
"""A rank that begins more often on average would hardly ever end."""


class _Life:
    """Follow one rank from one failure to the next.

    Parameters
    ----------
    failures : what is known of them
    draw : of the times between them

    `saved_s` is when the rank, had it never failed since, would have written its last checkpoint.
    """

    def __init__(self, failures: Failures, draw: np.random.Generator) -> None:
        self._failures, self._draw = failures, draw
        self._mtbf_s = _or_never(failures.mtbf_s)
        self.saved_s = 0.0
        self._failing_s = self._next_s()

    def _next_s(self) -> float:
        return self.saved_s + self._mtbf_s * self._draw.standard_exponential()

    def until(self, now_s: float) -> Generator[Action, Any, float]:
        """Do what was done since the last checkpoint until no failure comes; return the time then.

        Raises
        ------
        InputError : that would take far too many attempts
        """
        needed_s = now_s - self.saved_s
        if needed_s > self._mtbf_s * math.log(MOST_ATTEMPTS):
            need, mtbf = (format_quantity(one, "s") for one in (needed_s, self._mtbf_s))
            raise InputError(f"plan of failures: a rank that fails every {mtbf} does not get "
                             f"through {need} without a checkpoint; make mtbf_s longer, or "
                             "checkpoint_every_s shorter")  # fmt: skip
        while self._failing_s < now_s:
            lost_s = self._failures.restart_s + self._failing_s - self.saved_s
            yield Count("failures")
            yield Sleep(lost_s)
            now_s, self.saved_s = now_s + lost_s, self.saved_s + lost_s
            self._failing_s = self._next_s()
        return now_s


def _or_never(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _next(program: Program, answer: Any) -> Action | None:
    """Return the next action of a program, None at its end."""
    try:
        return program.send(answer)
    except StopIteration:
        return None


def _computed(action: Action) -> Compute | None:
    """Return the work that an action does or starts, if it does."""
    inner = action.action if isinstance(action, Start) else action
    return inner if isinstance(inner, Compute) else None


def _slowed(action: Action, compute: Compute, factor: float) -> Action:
    slowed = Compute(compute.work, compute.slowdown * factor)
    return Start(slowed) if isinstance(action, Start) else slowed
