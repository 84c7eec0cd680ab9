"""A rank that dies in a plan of messages is named, and nothing of the run is left behind."""

from __future__ import annotations

import os
import subprocess

import pytest

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("ranks are forked, which this system cannot", allow_module_level=True)

from simulator.errors import RankFailedError
from simulator.workload import Job
from tests.validation.test_ranks import descendants, is_zombie
from tests.validation.wall_plans import Dying
from validation.measure_plan import measure_plan
from validation.shaped_network import find_isolation
from validation.timed_steps import SLEEPER, timed
from workloads.plans import Gossip, ParameterServer

RANKS = 3


def interfaces():
    return subprocess.run(["ls", "/sys/class/net"], capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("plan", "victim", "rate_bit_per_s"),
    [(ParameterServer(), 1, None), (ParameterServer(), RANKS - 1, 1e9),
     (ParameterServer(mode="asynchronous"), RANKS - 1, None), (Gossip(), 1, 1e9)],
    ids=["worker", "server, shaped", "asynchronous server", "neighbour, shaped"],
)  # fmt: skip
def test_who_died_is_named_and_no_process_or_interface_is_left(plan, victim, rate_bit_per_s):
    if rate_bit_per_s is not None and not (isolation := find_isolation()).shaped:
        pytest.skip(isolation.why)
    before, others = interfaces(), set(descendants(os.getpid()))
    dying = Dying(plan, victim)
    with pytest.raises(RankFailedError, match=f"rank {victim} was killed by SIGKILL"):
        measure_plan(Job.of(timed(4e4)), dying, RANKS, virtual=SLEEPER,
                     rate_bit_per_s=rate_bit_per_s)  # fmt: skip
    assert interfaces() == before
    assert all(map(is_zombie, set(descendants(os.getpid())) - others))
