"""The live suite: what is measured, what is predicted of it, and simpler ways to predict it."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from validation import torch_measure
from validation.cases import scenario_of
from validation.compare import compare
from validation.machine_record import machine_record
from validation.measure import Measurement
from validation.suites.torch_cpu import suite as torch_cpu
from validation.suites.torch_cpu.baselines import BASELINES, op_features
from validation.suites.torch_cpu.suite import SUITE
from validation.suites.torch_cpu.workloads import SUBJECTS, Subject
from workloads.registry import find_workload

TINY = (
    Subject("mlp", "mlp", {"batch": 2, "width": 8}),
    Subject("mlp", "mlp", {"batch": 2, "width": 8, "training": True, "optimizer": "adamw"}),
)


@pytest.fixture
def measured(monkeypatch):
    """Measure two tiny workloads with a clock that says what it is told."""

    def take(workload, threads=1, **_):
        disturbed = threads > 1 and workload.training
        clock = "wall, fastest quarter (too few clean samples)" if disturbed else "a clock"
        return Measurement(
            name=workload.name, threads=threads, time_s=1e-3 / threads**0.5, spread=None,
            repeatability=None, times_s=(1e-3,), discarded=0, calls=1, clock=clock,
            machine=machine_record(),
        )  # fmt: skip

    monkeypatch.setattr(torch_measure, "measure_workload", take)
    monkeypatch.setattr(torch_cpu, "SUBJECTS", TINY)
    monkeypatch.setattr("hwmodels.this_machine.this_machine", type("Two", (), {"max_threads": 2}))
    said: list[str] = []
    return torch_cpu.measure(said.append), said


def test_the_suite_holds_at_least_24_workloads_of_all_families_each_with_a_twin():
    from validation.torch_twins import TWINS

    assert len(SUBJECTS) >= 24
    families = {subject.family for subject in SUBJECTS}
    assert families == {"mlp", "cnn", "resnet", "transformer", "lstm", "classic"}
    assert {subject.name for subject in SUBJECTS} <= set(TWINS)


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: f"{s.name}-{len(s.parameters)}")
def test_every_subject_can_be_built(subject):
    workload = find_workload(subject.name, **subject.parameters)
    assert len(workload.graph) > 0


def test_times_and_speedups_are_cases_and_what_was_disturbed_is_left_out(measured):
    cases, said = measured
    kinds = [(c.metric, c.number("plan.threads")) for c in cases]
    assert kinds == [("step_time_s", 1), ("step_time_s", 2), ("speedup", 2), ("step_time_s", 1)]
    assert cases[2].measured == pytest.approx(2**0.5)
    assert any("left out: mlp on 2 threads" in line for line in said)


def test_a_case_leads_back_to_its_scenario(measured):
    cases, _ = measured
    scenario = scenario_of(cases[-1])
    assert scenario.under("workload") == {
        "batch": 2, "width": 8, "training": True, "optimizer": "adamw",
    }  # fmt: skip
    assert scenario.under("plan") == {"threads": 1}


def test_the_groups_are_by_threads_and_family(measured):
    cases, _ = measured
    assert [tuple(SUITE.groups(case)) for case in cases[:3]] == [
        ("1 thread", "1 thread, mlp"), ("2 threads",), ("speedup 1 to 2",),
    ]  # fmt: skip


QUICK = [name for name in BASELINES if "trees" not in name]


@pytest.mark.parametrize("name", QUICK)
def test_every_baseline_answers_each_case_or_says_why_not(measured, name):
    cases = [case for case in measured[0] if case.number("plan.threads") == 1]
    answers = BASELINES[name](cases, {})
    assert len(answers) == len(cases)
    assert all(getattr(a, "value", None) or getattr(a, "reason", None) for a in answers)


def test_step_times_and_speedups_are_predicted_with_one_model(measured):
    one = [case for case in measured[0] if case.number("plan.threads") == 1]
    report = compare(replace(SUITE, baselines={}), one, SUITE.calibration()).report()
    assert list(report["splits"]) == ["held_out"]
    assert report["splits"]["held_out"]["skipped"] == 0


def test_the_trees_see_sizes_and_amounts_of_each_op():
    graph = find_workload("mlp", batch=2, width=8).graph
    features = op_features(graph, ["addmm"])
    assert features.shape[0] == len(graph)
    assert set(features[:, 0]) <= {-1.0, 0.0}
