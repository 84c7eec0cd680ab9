"""A step is looked into where one rank does one op after another."""

from __future__ import annotations

import itertools

import pytest

from scalemodel.op_timeline import op_timeline
from simulator.errors import InputError
from simulator.scenario import Scenario
from validation.predict import predict


def run(workload="mlp", steps=1, **parameters):
    dotted = {name.replace("__", "."): value for name, value in parameters.items()}
    scenario = Scenario(workload=workload, on="raspberry-pi-4", parameters=dotted, steps=steps)
    return predict(scenario, record=True)


def test_each_op_of_each_step_has_a_span_and_spans_follow_one_another():
    found = run(steps=2)
    spans = list(op_timeline(found))
    assert len(spans) == 2 * len(found.workload.graph)
    for before, after in itertools.pairwise(spans):
        assert after.start_s == pytest.approx(before.end_s)
    assert spans[-1].end_s == pytest.approx(found.time_s)


def test_ops_that_run_side_by_side_keep_the_timeline_of_the_run():
    found = run("resnet18", workload__image=64, plan__inter_op=2)
    assert op_timeline(found) is found.timeline


def test_a_run_without_timeline_is_an_error():
    with pytest.raises(InputError, match="without a timeline"):
        op_timeline(predict(Scenario(workload="mlp", on="raspberry-pi-4")))
