"""Carry out Now and Count: what a program asks of the clock and tells the run."""

from __future__ import annotations

from simulator.actions import Count, Now
from simulator.engine.actor import Actor


def now(actor: Actor, _: Now) -> float:
    """Return the seconds since the run began."""
    return actor.clock.now - actor.scene.start_s


def count(actor: Actor, action: Count) -> None:
    """Add to a count; or note that a step of the job has ended."""
    scene = actor.scene
    if action.name == "steps":
        scene.step_ends_s.append(actor.clock.now - scene.start_s)
    else:
        scene.counts[action.name] += action.amount * actor.copies
