"""Processes of a measured run answer, fail by name, and never outlive whoever asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("ranks are forked, which this system cannot", allow_module_level=True)

from simulator.errors import InputError, RankFailedError, ScalemodelError
from tests.validation.rank_tasks import task
from validation.ranks import MOST_RANKS_A_CORE, check_ranks, run_ranks
from validation.shaped_network import Isolation, find_isolation

PATIENCE_S = 300.0
"""So that what never ends fails; it takes a second."""
ROOT = Path(__file__).parents[2]
LAUNCHER = """
from tests.validation.rank_tasks import task
from validation.ranks import run_ranks
from validation.shaped_network import Isolation, find_isolation
isolation = find_isolation() if {isolated} else Isolation("loopback")
run_ranks(task("hang"), 2, isolation=isolation, tell=lambda text: print(text, flush=True))
"""


@pytest.fixture(scope="module")
def isolation():
    found = find_isolation()
    if not found.shaped:
        pytest.skip(found.why)
    return found


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_rank_answers_in_order_and_tells_of_its_progress():
    told: list[str] = []
    answers = run_ranks(task("who"), 3, tell=told.append)
    assert [(rank, total) for rank, total, _ in answers.of_ranks] == [(0, 3), (1, 3), (2, 3)]
    assert sorted(told) == [f"rank {rank} is here" for rank in range(3)]
    assert answers.network == "loopback"
    assert not any(is_alive(process) for _, _, process in answers.of_ranks)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", r"rank 1 failed: ValueError: boom \(.*rank_tasks.py, line"),
        ("exits", "rank 1 ended with exit code 7 before its work was done"),
        ("dies", "rank 1 was killed by SIGKILL"),
    ],
)
def test_the_rank_that_failed_first_is_named_and_not_those_that_waited_for_it(how, message):
    with pytest.raises(RankFailedError, match=message):
        run_ranks(task("fail", how), 3)


def test_what_cannot_be_found_is_an_error_and_no_silence():
    with pytest.raises(ScalemodelError, match=r"no rank could be started.* no attribute 'nothing'"):
        run_ranks(task("nothing"), 1)


def test_what_other_processes_cannot_be_given_is_refused():
    with pytest.raises(InputError, match="must be in a module or a file"):
        run_ranks(task("fail", lambda: "not by this way"), 1)


@pytest.mark.parametrize("isolated", [False, True])
def test_a_killed_launcher_leaves_no_process_behind(isolated):
    if isolated and not (found := find_isolation()).shaped:
        pytest.skip(found.why)
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER.format(isolated=isolated)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert launcher.stdout is not None
    assert launcher.stdout.readline().startswith("pid")
    assert launcher.stdout.readline().startswith("pid")
    left = descendants(launcher.pid)
    assert len(left) >= 3  # the host and its ranks
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    until_s = time.monotonic() + PATIENCE_S
    while any(is_alive(process) and not is_zombie(process) for process in left):
        assert time.monotonic() < until_s, "processes were left behind"
        time.sleep(0.05)
    launcher.stdout.close()


def descendants(process):
    """Return the processes that a process and its children started (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == process:
            child = int(stat.parent.name)
            found += [child, *descendants(child)]
    return found


def is_zombie(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ranks_in_a_network_of_their_own_see_nothing_else(isolation):
    answers = run_ranks(task("interfaces"), 2, rate_bit_per_s=1e9, isolation=isolation)
    assert answers.of_ranks == [["lo", "eth0"]] * 2
    assert (answers.network, answers.rate_bit_per_s) == (isolation.name, 1e9)


def test_the_network_of_this_machine_is_as_it_was_before(isolation):
    before = subprocess.run(["ls", "/sys/class/net"], capture_output=True, check=True).stdout
    run_ranks(task("who"), 2, rate_bit_per_s=1e9, isolation=isolation)
    after = subprocess.run(["ls", "/sys/class/net"], capture_output=True, check=True).stdout
    assert before == after


def test_without_a_network_of_their_own_ranks_run_over_loopback_and_that_is_said():
    told: list[str] = []
    answers = run_ranks(task("who"), 1, rate_bit_per_s=1e9, tell=told.append,
                        isolation=Isolation("loopback", why="tc not found"))  # fmt: skip
    assert (answers.network, answers.rate_bit_per_s) == ("loopback", None)
    assert "tc not found" in told[0]
    assert "unlimited" in told[0]


def test_far_more_ranks_than_cores_are_refused():
    with pytest.raises(InputError, match=f"{MOST_RANKS_A_CORE} a core"):
        check_ranks(100_000)
    with pytest.raises(InputError, match="ranks"):
        check_ranks(1, least=2)
    assert check_ranks(2, least=2) == 2
