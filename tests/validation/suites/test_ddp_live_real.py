"""Training in torch in the live suite: when compression pays, and processes in common memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwmodels import this_machine
from simulator.engine.execute import execute
from simulator.ideal import IdealDevice
from validation import timed_steps
from validation.cases import Case
from validation.suite import Prediction, Skip
from validation.suites.ddp_live import real
from validation.suites.ddp_live.suite import NAME, SUITE, _machine

DEVICE = IdealDevice(flops_per_s=2e9, max_threads=2)


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch):
    monkeypatch.setattr(this_machine, "this_machine", lambda: DEVICE)


def made(settings, metric):
    return Case(suite=NAME, group="", settings=settings, metric=metric, measured=1.0,
                unit=real.UNITS[metric], source="", licence="own")  # fmt: skip


def cases_of(metric):
    return [made(*one) for one in real.asked() if one[1] == metric]


def predicted(case):
    [answer] = SUITE.predict([case], {})
    assert isinstance(answer, Prediction)
    return answer.value


@pytest.mark.parametrize("case", cases_of(real.PAYS), ids=real._told)
def test_at_the_predicted_rate_compressed_steps_take_as_long_as_plain_ones(case):
    machine = replace(_machine(2, predicted(case)), devices=[DEVICE] * 2)
    plain_s, compressed_s = (
        execute(real._job(case), machine, real._plan(case, plain), record=False).time_s
        for plain in (True, False)
    )
    assert compressed_s == pytest.approx(plain_s, rel=1e-3)


def test_what_never_pays_has_no_rate_below_which_it_does(monkeypatch):
    monkeypatch.setattr(this_machine, "this_machine", lambda: IdealDevice(flops_per_s=1e3))
    [answer] = SUITE.predict(cases_of(real.PAYS)[:1], {})
    assert isinstance(answer, Skip)
    assert "at none" in answer.reason


def test_processes_in_common_memory_are_as_many_times_as_quick_as_one():
    [case, _] = cases_of(real.HOGWILD)
    step_s = float(DEVICE.times_s(real._job(case).step.graph, 1).sum())
    assert predicted(case) == pytest.approx(real.DEVICES * 32 / step_s)


def test_a_case_of_another_machine_is_skipped():
    case = cases_of(real.HOGWILD)[0]
    other = replace(case, settings=dict(case.settings) | {"on": "raspberry-pi-4"})
    [answer] = SUITE.predict([other], {})
    assert isinstance(answer, Skip)


def test_a_measured_crossing_lies_where_the_ratio_of_times_falls_to_one(monkeypatch):
    crossings = dict(zip(range(1, 4), (1.2e9, 3e9, 1e12), strict=True))

    def steps_s(steps, devices, rate=None, tell=None):
        if len(steps) == 1:
            return [0.5]
        return [1 / rate, *(1 / crossings[place] for place in crossings)]

    told: list[str] = []
    monkeypatch.setattr(timed_steps, "measure_steps", steps_s)
    first, second, *hogwild = real.measure(made, told.append)
    assert first.measured == pytest.approx(1.2e9)
    assert second.measured == pytest.approx(3e9)
    assert any("no crossing" in line for line in told)
    assert [case.measured for case in hogwild] == [real.STEPS * 2 * 32 / 0.5] * 2
    assert {SUITE.groups(case) for case in hogwild} == {("",)}


@pytest.mark.parametrize("ratios", [[0.9, 0.8], [1.5, 1.2]])
def test_a_ratio_that_does_not_cross_one_has_no_crossing(ratios):
    assert real.crossing_of([1.0, 2.0], ratios) is None
