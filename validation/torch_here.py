"""Do what a rank is asked in this very process, which torchrun started."""

from __future__ import annotations

from validation.ranks import Answers, Task, Tell, named
from validation.torch_peers import Peers


def run_here(task: Task, tell: Tell, timeout_s: float) -> Answers:
    """Return what all ranks answered; each of them calls this."""
    peers = Peers.from_environment(timeout_s)
    try:
        own = named(task.call)(peers, tell, task.given)
        answers = peers.gather(own)
    finally:
        peers.close()
    return Answers(answers, "torchrun", one_clock=peers.one_clock)
