"""Processes that train on parameters in common memory see each other's updates."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("ranks are forked, which this system cannot", allow_module_level=True)

from simulator.workload import Job
from tests.validation.rank_tasks import task
from validation.measure_plan import measure_plan
from validation.ranks import run_ranks
from validation.torch_plan import MEMORY
from workloads.plans import Hogwild
from workloads.registry import find_workload


def files_in_memory():
    return set(MEMORY.glob("tmp*")) if MEMORY.is_dir() else set()


def test_memory_in_common_begins_as_the_first_ranks_and_is_written_by_all():
    before = files_in_memory()
    answers = run_ranks(task("memory_in_common"), 2)
    assert answers.of_ranks == [[10.0, 11.0, 0.0]] * 2
    assert files_in_memory() <= before


def test_updates_of_all_processes_are_in_the_parameters_of_each():
    answers = run_ranks(task("hogwild", 3), 2)
    (begin, first), (same_begin, second) = answers.of_ranks
    assert begin == same_begin
    assert first == second != begin


def test_a_measured_run_of_hogwild_sends_nothing():
    job = Job.of(find_workload("mlp", batch=4, width=8, training=True), steps=2)
    outcome = measure_plan(job, Hogwild(processes=2), 1)
    assert outcome.size == 2
    assert sum(rank.sent_bytes for rank in outcome.ranks) == 0
