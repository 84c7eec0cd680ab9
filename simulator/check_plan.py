"""Judge a plan by running it on ideal machines: the contract that every plan keeps.

A plan must place its ranks where there are devices; its program must end, without deadlock, race,
lost message or disagreeing collectives; what is sent is received; run twice it must do the same;
and where it says that ranks are alike, simulating one of them must give what simulating all of them
gives. All this on equal devices, and with one that is slower than the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.actions import Rank
from simulator.engine.execute import execute, place
from simulator.engine.outcome import Outcome
from simulator.errors import DoesNotFitError, InputError, ProgramError
from simulator.ideal import IdealDevice, ideal_machine
from simulator.ops import Graph, IntArray, Op
from simulator.protocols import Machine, Placement, Plan, Program
from simulator.timeline import Span
from simulator.workload import BUCKET_BYTES, Gradient, Job, Workload

STEPS = 3
"""One more than a program needs to pass from one step to the next twice."""
FAST = IdealDevice(power_w=2.0, idle_w=1.0)
SLOW = IdealDevice(flops_per_s=FAST.flops_per_s / 1.7, power_w=2.0, idle_w=1.0, name="slow")
MOST_ACTIONS = 100_000
"""A rank that does more than this in `STEPS` small steps is taken for one that never ends."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Say whether a plan keeps the contract on so many devices.

    Parameters
    ----------
    devices : how many
    verdict : "fine", "not for so many" (the plan itself refuses), or "broken"
    why : "" where it is fine
    """

    devices: int
    verdict: str
    why: str = ""

    @property
    def broken(self) -> bool:
        """Say whether the plan breaks the contract."""
        return self.verdict == "broken"


def check_plan(plan: Plan, devices: int) -> Verdict:
    """Return whether a plan keeps the contract on so many ideal devices.

    >>> from simulator.protocols import Placement
    >>> class Wrong:
    ...     def place(self, machine): return Placement((0,), (1,))
    ...     def copies(self, ranks): return None
    ...     def program(self, rank, job): yield rank.recv(job.grad)
    >>> check_plan(Wrong(), 1).verdict
    'broken'
    """
    machine = ideal_machine(devices, device=FAST)
    try:
        plan.place(machine)
    except (InputError, DoesNotFitError) as error:
        return Verdict(devices, "not for so many", str(error))
    except (Exception, SystemExit) as error:
        return Verdict(devices, "broken", _raised("place", error))
    try:
        place(plan, machine)
        bounded = _Bounded(plan)
        why = _difference(bounded, machine) or _difference(bounded, _with_straggler(machine))
    except (ProgramError, InputError) as error:
        why = str(error)
    except (Exception, SystemExit) as error:
        why = _raised("program", error)
    return Verdict(devices, "broken", why) if why else Verdict(devices, "fine")


def _raised(where: str, error: BaseException) -> str:
    return f"its {where} raises {type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class _Bounded:
    """Be a plan whose programs are stopped when they do not end."""

    plan: Plan

    def place(self, machine: Machine) -> Placement:
        """Return where each rank runs."""
        return self.plan.place(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return which ranks are alike."""
        return self.plan.copies(ranks)

    def program(self, rank: Rank, job: Job) -> Program:
        """Yield the actions of one rank, up to `MOST_ACTIONS`."""
        program = self.plan.program(rank, job)
        answer: Any = None
        for _ in range(MOST_ACTIONS):
            try:
                action = program.send(answer)
            except StopIteration:
                return
            answer = yield action
        raise ProgramError(f"rank {rank.id} does more than {MOST_ACTIONS:,} actions in "
                           f"{job.steps} steps; does its program end?")  # fmt: skip


def _with_straggler(machine: Machine) -> Machine:
    """Return the machine with its last device slower than the others, by no round factor."""
    return Machine(machine.name, (*machine.devices[:-1], SLOW), machine.network)


def _difference(plan: Plan, machine: Machine) -> str:
    """Return in what two runs that should be equal differ, "" where they do not."""
    job = Job.of(training_step(), steps=STEPS)
    whole = execute(job, machine, plan, fold=False)
    if _moments(execute(job, machine, plan, fold=False)) != _moments(whole):
        return ("run twice, it does not do the same: programs must draw from seed and rank only, "
                "as `stream` does")  # fmt: skip
    sent, received = whole.total("sent_bytes"), whole.total("received_bytes")
    if sent != received and not whole.dropped_messages:
        return f"it sends {sent} B and receives {received} B"
    folded = execute(job, machine, plan)
    for name, figure in _figures(whole).items():
        if _figures(folded)[name] != figure:
            return ("copies() says that ranks are alike which are not: folded and whole runs "
                    f"differ ({name} {_figures(folded)[name]} and {figure})")  # fmt: skip
    return ""


def _moments(outcome: Outcome) -> list[Span]:
    return [] if outcome.timeline is None else list(outcome.timeline)


def _figures(outcome: Outcome) -> dict[str, object]:
    """Return what folding must not change, to the last bit."""
    figures: dict[str, object] = {
        name: getattr(outcome, name)
        for name in ("time_s", "step_ends_s", "energy", "collectives", "counts", "dropped_messages")
    }
    for name in ("compute_s", "communication_s", "waiting_s", "sent_bytes", "received_bytes"):
        figures[name] = outcome.total(name)
    return figures


def training_step(gradient_bytes: float = BUCKET_BYTES) -> Workload:
    """Return a small step with forward, backward and update, and gradients of one size."""
    sizes = (64, 96, 32)
    ops = [_gemm(size, "forward") for size in sizes]
    ops += [_gemm(size, "backward") for size in reversed(sizes)]
    ops.append(Op(kind="elementwise", dims=(sum(sizes),), flops=float(sum(sizes)), phase="update"))
    backward = len(sizes)
    gradients = tuple(
        Gradient(f"weight{i}", float(gradient_bytes), backward + i) for i in range(len(sizes))
    )
    nbytes = sum(gradient.nbytes for gradient in gradients)
    return Workload(
        name="check",
        parameters={},
        graph=Graph.of(ops),
        samples=8,
        weight_count=int(nbytes / 4),
        weight_bytes=nbytes,
        gradients=gradients,
    )


def _gemm(size: int, phase: str) -> Op:
    return Op(kind="gemm", dims=(1, 8, size, size), flops=16.0 * size * size, phase=phase)
