"""Calibrate: fit the numbers of this machine, or of one that was timed elsewhere.

The steps: rings of buffers tell the levels of memory; kernels of random programs, timed where they
stand, tell the rates of one thread; the same on teams tells what is shared; whole random networks
that were not fitted tell how wrong predictions are. The result is a device file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hwmodels.cpu_cost import op_costs, times_s
from hwmodels.cpu_rates import numbers_of
from hwmodels.device_writer import write_device
from hwmodels.devices import devices_folder
from hwmodels.home import home
from hwmodels.machine_files import read_machine
from hwmodels.spec import Calibration, Spec
from hwmodels.this_machine import uncalibrated_spec
from simulator.errors import InputError
from validation.conformal import ratio_interval
from validation.fit_cpu import FittedRates, Timing, fit_rates, fit_team
from validation.fit_levels import FittedLevels, fit_levels, told_bytes, with_shared
from validation.machine_record import MachineRecord, machine_record
from validation.timing_store import TimingStore

if TYPE_CHECKING:
    from validation.torch_levels import Reach
    from validation.torch_timings import Recipe

Say: TypeAlias = Callable[[str], None]
FEWEST_RATIOS = 8
"""Whole runs below which no interval is given."""
TEAM_RING_BYTES = 2**21
TEAM_FROM_BYTES = 2**22
"""Rings of a team: large enough that each call is worth sharing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Say how long each step may take, seconds.

    Parameters
    ----------
    levels_s : rings of buffers on one thread
    programs_s : programs on one thread
    half_s : the same with 16-bit floats
    team_levels_s : rings by all threads
    team_s : programs on teams
    largest : scale of the programs, 1 is about 50 ms
    """

    levels_s: float
    programs_s: float
    half_s: float
    team_levels_s: float
    team_s: float
    largest: float


QUICK = Budget(levels_s=2.0, programs_s=16.0, half_s=0.0, team_levels_s=1.0, team_s=5.0, largest=1)
FULL = Budget(
    levels_s=8.0, programs_s=105.0, half_s=10.0, team_levels_s=4.0, team_s=35.0, largest=8
)


@dataclass(frozen=True, slots=True)
class Found:
    """Hold what was measured and fitted.

    Parameters
    ----------
    fitted : rates and spreads
    levels : with their spreads
    ratios : measured over predicted time of whole runs that were not fitted
    programs, kernels, rings : how many were timed
    """

    fitted: FittedRates
    levels: FittedLevels
    ratios: Sequence[float]
    programs: int
    kernels: int
    rings: int


def calibrate(
    quick: bool = False,
    timings: Path | None = None,
    like: str | None = None,
    say: Say = lambda text: None,
    name: str | None = None,
) -> Path:
    """Calibrate and return the path of the device file that was written.

    Costs about three minutes, `quick` under 40 s with wider spreads. If it is interrupted, the next
    call goes on where it ended.

    Parameters
    ----------
    quick : measure less
    timings : a CSV of timings that were taken elsewhere, instead of measuring this machine (see
        `validation.timings_file`)
    like : name of the device on which `timings` were taken; None: a device like this machine
    say : is told what is being done
    name : of the device that is made; None: `like`, or this machine

    Raises
    ------
    UnknownNameError : no device `like`
    FileError : a wrong table of timings
    InputError : a name that no file can have
    """
    check_name(name)
    if timings is not None:
        from validation.timings_file import calibrated_from

        spec = calibrated_from(timings, like)
    else:
        spec = calibrate_here(QUICK if quick else FULL, say)
    if name is not None:
        spec = spec.replaced(name=name)
    path = devices_folder() / f"{spec.name}.toml"
    write_device(path, spec)
    return path


def check_name(name: str | None) -> None:
    """Raise an InputError for a name that no device file can have; None is fine."""
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(f"--name '{name}': expected letters, digits, dots, hyphens and "
                         "underscores, a letter or digit first")  # fmt: skip


def calibrate_here(budget: Budget, say: Say = lambda text: None) -> Spec:
    """Return this machine with its numbers fitted to measurements that are made now.

    Parameters
    ----------
    budget : how long to measure
    say : is told what is being done
    """
    spec = uncalibrated_spec(read_machine())
    record = machine_record()
    conditions = {
        "machine": record.machine, "software": record.build, "date": record.date, **asdict(budget)
    }  # fmt: skip
    store = TimingStore(home() / "calibrating.jsonl", conditions)
    if len(store):
        say(f"going on after {len(store)} timings that were made before")
    found = measured(budget, spec, store, say)
    calibrated = spec.replaced(calibration=calibration_of(found, record, spec))
    store.close()
    return calibrated


def measured(budget: Budget, spec: Spec, store: TimingStore, say: Say) -> Found:
    """Return what measuring this machine tells.

    Parameters
    ----------
    budget : how long to measure
    spec : what the system tells of this machine
    store : of the timings
    say : is told what is being done
    """
    from validation.torch_threads import settle_allocator

    settle_allocator()
    threads = team_sizes(spec)
    say("timing caches and memory")
    alone = _rings(budget.levels_s, 1, store)
    levels = fit_levels(alone, told_bytes(spec))
    together = _rings(budget.team_levels_s, threads[-1], store) if threads else []
    shared = with_shared(levels.levels, together, threads[-1]) if threads else levels.levels
    timings, reserved = _programs(budget, store, say)
    teams = {count: _team(count, budget.team_s / len(threads), budget, store, say)
             for count in threads}  # fmt: skip
    say("fitting")
    every = [*timings, *(one for team in teams.values() for one in team)]
    fitted = fit_rates(every, shared, _fault(store))
    for count, team in teams.items():
        fitted = fit_team(fitted, team, count)
    return Found(
        fitted=fitted,
        levels=levels,
        ratios=[_ratio(timing, fitted) for timing in reserved],
        programs=len(every) + len(reserved),
        kernels=sum(len(one.times_s) for one in every),
        rings=len(alone) + len(together),
    )


def team_sizes(spec: Spec) -> list[int]:
    """Return the numbers of threads that are measured beside one: two and all cores."""
    cores = int(spec.known("cores")) * int(spec.number("sockets") or 1)
    return sorted({min(2, cores), cores} - {1})


def _rings(budget_s: float, threads: int, store: TimingStore) -> list[Reach]:
    from validation.torch_levels import BUFFER_BYTES, Reach, footprints, sweep
    from validation.torch_threads import torch_threads

    key = f"rings {threads}"
    kept = store.get(key)
    if kept is None:
        one = threads == 1
        rings = [size for size in footprints() if one or size >= TEAM_FROM_BYTES * threads]
        most = BUFFER_BYTES if one else TEAM_RING_BYTES * threads
        with torch_threads(threads):
            made = sweep(rings, budget_s, threads, most)
        store.put(key, {"reaches": [asdict(reach) for reach in made]})
        return made
    return [Reach(**reach) for reach in kept["reaches"]]


def _fault(store: TimingStore) -> float:
    from validation.torch_levels import fault_s_per_byte
    from validation.torch_threads import torch_threads

    kept = store.get("fault")
    if kept is None:
        with torch_threads(1):
            kept = {"fault_s_per_byte": fault_s_per_byte()}
        store.put("fault", kept)
    return float(kept["fault_s_per_byte"])


def _programs(budget: Budget, store: TimingStore, say: Say) -> tuple[list[Timing], list[Timing]]:
    """Return the timings of one thread, to be fitted and reserved for the error of predictions."""
    from validation.torch_timings import PIECES

    say("timing kernels on one thread")
    timed = _timed(_recipes(1, budget), budget.programs_s, store)
    if budget.half_s:
        say("timing kernels on 16-bit floats")
        timed += _timed(_recipes(1, budget, "bfloat16"), budget.half_s, store)
    # Loose pieces say nothing of what a framework does between the kernels of a program.
    fitted = [
        replace(timing, whole_s=None) if recipe.kind == PIECES else timing
        for recipe, timing in timed if not recipe.reserved
    ]  # fmt: skip
    return fitted, [timing for recipe, timing in timed if recipe.reserved]


def _team(
    threads: int, budget_s: float, budget: Budget, store: TimingStore, say: Say
) -> list[Timing]:
    say(f"timing kernels on {threads} threads")
    return [timing for _, timing in _timed(_recipes(threads, budget), budget_s, store)]


def _recipes(threads: int, budget: Budget, dtype: str = "float32") -> Iterable[Recipe]:
    from validation.torch_timings import recipes

    return recipes(threads, dtype, budget.largest)


def _timed(
    recipes: Iterable[Recipe], budget_s: float, store: TimingStore
) -> list[tuple[Recipe, Timing]]:
    """Return timings of recipes until the time is over; time spent before an interruption counts.

    At least one recipe is timed.
    """
    spent, found = 0.0, []
    for recipe in recipes:
        begin = time.perf_counter()
        key = " ".join(str(value) for value in asdict(recipe).values())
        timing, earlier = _kept_or_made(recipe, key, store)
        spent += earlier if earlier is not None else time.perf_counter() - begin
        if timing is not None:
            found.append((recipe, timing))
        if spent >= budget_s and found:
            return found
    return found


def _kept_or_made(
    recipe: Recipe, key: str, store: TimingStore
) -> tuple[Timing | None, float | None]:
    """Return the timing of a recipe, and what it took to make where it was kept."""
    from validation.torch_timings import Timed, time_recipe

    kept = store.get(key)
    if kept is None:
        begin = time.perf_counter()
        made = time_recipe(recipe)
        entry: dict[str, Any] = {"spent_s": time.perf_counter() - begin}
        if made is not None:
            entry |= {"times_s": made[0].times_s.tolist(), "whole_s": made[0].whole_s}
        store.put(key, entry)
        return (None if made is None else made[1]), None
    if "times_s" not in kept:
        return None, kept["spent_s"]
    timing = Timed(recipe, np.array(kept["times_s"]), kept["whole_s"]).timing()
    alike = len(timing.graph) == len(timing.times_s)
    return (timing if alike else None), kept["spent_s"]


def _ratio(timing: Timing, fitted: FittedRates) -> float:
    """Return measured over predicted time of a whole step."""
    predicted = times_s(op_costs(timing.graph, fitted.rates), fitted.rates, 1).sum()
    assert timing.whole_s is not None
    return timing.whole_s / float(predicted)


def calibration_of(found: Found, record: MachineRecord, spec: Spec) -> Calibration:
    """Return what was found as a device file keeps it.

    Parameters
    ----------
    found : what was measured and fitted
    record : the conditions
    spec : of the machine that was measured
    """
    spreads = {**found.fitted.spreads, **found.levels.spreads}
    enough = len(found.ratios) >= FEWEST_RATIOS
    return Calibration(
        numbers=numbers_of(found.fitted.rates, spreads),
        data=(f"{found.kernels} kernels of {found.programs} random programs, {found.rings} rings "
              f"of buffers"),
        date=record.date,
        machine=_machine(record),
        software=record.build,
        error_ratio=ratio_interval(list(found.ratios)) if enough else None,
        reference=dict(spec.values),
        reference_name=spec.name,
        reference_architecture=spec.architecture,
    )  # fmt: skip


def _machine(record: MachineRecord) -> str:
    load = "" if record.load is None else f", load {record.load:.1f}"
    return f"{record.machine}, {record.system}{load}"
