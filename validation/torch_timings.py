"""Time the kernels of drawn programs, one program a recipe.

A *recipe* says which program is drawn and how it is timed; it is all that must be kept beside the
times, for the same recipe draws the same program.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from simulator.ops import FloatArray
from validation.fit_cpu import Timing
from validation.torch_insitu import Program, kernel_times, no_phase, recorded_graph
from validation.torch_microbench import draw_program
from validation.torch_networks import draw_network
from validation.torch_threads import torch_threads

NETWORK, PIECES = "network", "pieces"
NETWORK_SCALES = (0.05, 0.3, 1.0, 3.0, 8.0)
PIECES_SCALES = (0.02, 0.1, 0.5, 1.5)
SMALLEST_OF_TEAM = 0.3
"""Smaller programs have little that a team shares."""
PIECES_IN_PROGRAM = 8
REPEATS = {True: 5, False: 9}
"""Timings of each kernel, on one thread (True) and on more, where a step is short."""
LONG_S = 0.02
LONG_REPEATS = {True: 3, False: 5}
"""The same where a step takes longer than `LONG_S`; longer ones are disturbed less."""
CYCLE = 5
"""Of so many programs in turn, the first 2 are networks, the others loose pieces."""
NETWORKS_OF_CYCLE = 2
RESERVED_OF = 4
"""Each so manieth network is not fitted: it tells how wrong whole runs are predicted."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Say which program is timed, and how.

    Parameters
    ----------
    kind : "network" or "pieces"
    seed : of the draw
    scale : of sizes
    threads : that torch uses
    dtype : of floating-point tensors
    """

    kind: str
    seed: int
    scale: float
    threads: int = 1
    dtype: str = "float32"

    @property
    def reserved(self) -> bool:
        """Say whether it is kept back to tell the error of predictions."""
        return self.kind == NETWORK and self.threads == 1 and self.seed % RESERVED_OF == 0

    def program(self) -> Program:
        """Return the program."""
        if self.kind == NETWORK:
            return draw_network(self.seed, self.scale)[1]
        return draw_program(self.seed, self.scale, PIECES_IN_PROGRAM, getattr(torch, self.dtype))


@dataclass(frozen=True, eq=False)
class Timed:
    """Hold what a recipe took.

    Parameters
    ----------
    recipe : what was timed
    times_s : of each of its kernels, seconds
    whole_s : of the whole step, seconds
    """

    recipe: Recipe
    times_s: FloatArray
    whole_s: float

    def timing(self) -> Timing:
        """Return it with its graph, which is recorded again."""
        with torch_threads(self.recipe.threads):
            graph = recorded_graph(self.recipe.program())
        return Timing(graph, self.times_s, self.whole_s, self.recipe.threads)


def recipes(threads: int = 1, dtype: str = "float32", largest: float = 8.0) -> Iterator[Recipe]:
    """Return recipes without end, networks and loose pieces of all scales in turn.

    Parameters
    ----------
    threads : that torch uses
    dtype : of floating-point tensors; networks are drawn in float32 only
    largest : scale

    >>> [recipe.kind for recipe, _ in zip(recipes(), range(5))]
    ['network', 'network', 'pieces', 'pieces', 'pieces']
    """
    smallest = 0.0 if threads == 1 else SMALLEST_OF_TEAM
    networks = [scale for scale in NETWORK_SCALES if smallest <= scale <= largest]
    pieces = [scale for scale in PIECES_SCALES if smallest <= scale <= largest]
    for seed in itertools.count():
        if seed % CYCLE < NETWORKS_OF_CYCLE and dtype == "float32":
            yield Recipe(NETWORK, seed, networks[seed % len(networks)], threads)
        else:
            yield Recipe(PIECES, seed, pieces[seed // CYCLE % len(pieces)], threads, dtype)


def time_recipe(recipe: Recipe) -> tuple[Timed, Timing] | None:
    """Return what a recipe takes on this machine; None if its kernels are not always the same."""
    with torch_threads(recipe.threads):
        return _time_program(recipe, recipe.program(), recipe.threads == 1)


def _time_program(recipe: Recipe, program: Program, alone: bool) -> tuple[Timed, Timing] | None:
    clock = time.thread_time if alone else time.perf_counter
    program.step(no_phase)
    first = _step_s(program, clock)
    repeats = (LONG_REPEATS if first > LONG_S else REPEATS)[alone]
    found = kernel_times(program, repeats, alone)
    if found is None:
        return None
    whole = [_step_s(program, clock) for _ in range(repeats)]
    # What disturbs a team only adds to the wall time.
    rank = 0.5 if alone else 0.25
    times, whole_s = np.quantile(found.times_s, rank, axis=0), float(np.quantile(whole, rank))
    return Timed(recipe, times, whole_s), Timing(found.graph, times, whole_s, recipe.threads)


def _step_s(program: Program, clock: Callable[[], float]) -> float:
    begin = clock()
    program.step(no_phase)
    return clock() - begin
