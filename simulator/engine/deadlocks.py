"""Say in words which ranks wait for what, when nothing can happen any more."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.actions import Collective, Wait
from simulator.engine.actor import Actor
from simulator.engine.races import describe

SHOWN = 8
"""How many different states of ranks a message names."""


def explain_deadlock(actors: Sequence[Actor]) -> str:
    """Return who waits for what; ranks in the same state are named together."""
    states: dict[str, list[int]] = {}
    left: dict[int, str] = {}
    for pending in actors[0].scene.communicators.unfinished():
        left[pending.actor.rank] = f", with started {_of(pending.action)} unfinished"
    for actor in actors:
        state = "ended" + left.get(actor.rank, "") if actor.ended else _state(actor)
        states.setdefault(state, []).append(actor.rank)
    lines = [f"{in_words(ranks)}: {state}" for state, ranks in states.items()]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return f"deadlock at {actors[0].clock.now} s: " + "; ".join(lines[:SHOWN] + more)


def _state(actor: Actor) -> str:
    action: object = actor.foreground.action
    if isinstance(action, Wait):
        waited = [_of(handle.action) for handle in action.handles if not handle.done]
        more = [f"{len(waited) - 3} more"] if len(waited) > 3 else []
        return "waiting for started " + (" or " if action.first else ", ").join(waited[:3] + more)
    return _of(action)


def _of(action: object) -> str:
    over = f" over {action.group}" if isinstance(action, Collective) else ""
    return describe(action) + over


def in_words(ranks: Sequence[int]) -> str:
    """Return ranks as ranges.

    >>> in_words([0, 1, 2, 5]), in_words([3])
    ('ranks 0-2, 5', 'rank 3')
    """
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    words = ", ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in runs)
    return f"{'ranks' if len(ranks) > 1 else 'rank'} {words}"
