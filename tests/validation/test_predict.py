"""A scenario's names stand for devices, workloads and plans; what they do not know is an error."""

from __future__ import annotations

import pytest

from hwmodels.devices import find_spec
from simulator.errors import DoesNotFitError, FileError, InputError, UnitError, UnknownNameError
from simulator.scenario import Scenario
from validation.predict import bind, predict, workload_of
from workloads.plans import Threads

DEVICE = "amd-epyc-7742"


def ask(**parameters):
    dotted = {name.replace("__", "."): value for name, value in parameters.items()}
    return Scenario(workload="mlp", on=DEVICE, parameters=dotted)


def test_parameters_reach_workload_device_and_plan():
    bound = bind(ask(workload__batch=8, plan__threads=3, on__cores=5))
    assert bound.workload.samples == 8
    assert bound.device.max_threads == 5 * find_spec(DEVICE).values["threads_per_core"]
    assert bound.plan == Threads(threads=3)


def test_twice_the_arithmetic_is_never_slower():
    plain = predict(ask(workload__batch=512))
    more = predict(ask(**{"workload__batch": 512, "on__flops_per_cycle.float32": 64}))
    assert more.step_time_s <= plain.step_time_s


def test_a_plan_given_is_used_in_place_of_the_named_one():
    assert predict(ask(), plan=Threads(threads=2)).placement.threads == (2,)


def test_steps_and_seed_are_those_of_the_scenario():
    run = predict(ask().changed({"steps": 3, "seed": 5}))
    assert (run.steps, run.seed) == (3, 5)
    assert run.time_s == pytest.approx(3 * run.step_time_s)


def test_a_job_has_hours_and_money():
    run = predict(ask(job__steps=3600, job__price_per_hour=2.0))
    assert run.metric("job.hours") == pytest.approx(run.step_time_s)
    assert run.cost == pytest.approx(2.0 * run.step_time_s)


def test_equal_parameters_give_the_same_workload():
    assert workload_of("mlp", {"batch": 4}) is workload_of("mlp", {"batch": 4})


def test_the_machine_at_hand_is_a_device_like_any_other():
    run = predict(Scenario(workload="mlp", on="this-machine"))
    assert run.step_time_s > 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"workload": "mpl"}, UnknownNameError, "unknown workload 'mpl'; did you mean 'mlp'"),
        ({"on": "epyc-774"}, UnknownNameError, "did you mean 'epyc-7742'"),
        ({"on": "missing/machine.toml"}, FileError, "missing/machine.toml"),
        ({"plan": "thread"}, UnknownNameError, "did you mean 'threads'"),
        ({"workload.bach": 2}, UnknownNameError, "did you mean 'batch'"),
        ({"plan.thread": 2}, UnknownNameError, "did you mean 'threads'"),
        ({"on.memory.bandwidth": 2}, UnknownNameError, "did you mean 'memory.bandwidth_bytes"),
        ({"workload.batch": 0}, InputError, "batch must be a whole number of at least 1; got 0"),
        ({"workload.batch": -3}, InputError, "batch must be .*got -3"),
        ({"workload.batch": 2.5}, InputError, "batch must be .*got 2.5"),
        ({"workload.training": 1}, InputError, "training must be true or false"),
        ({"on.cores": 0}, InputError, "cores: expected a whole number"),
        ({"plan.threads": 0}, InputError, "threads must be a whole number of at least 1; got 0"),
        ({"plan.threads": 4096}, InputError, "4096"),
        ({"job.steps": "many"}, InputError, "job.steps: expected a number"),
        ({"job.steps": -1}, InputError, "steps must be finite and not negative"),
        ({"job.price_per_hour": 2}, InputError, "job.price_per_hour needs job.steps"),
        ({"job.step": 2}, UnknownNameError, "did you mean 'steps'"),
        ({"on.memory.size_bytes": "1 MB"}, DoesNotFitError, "needs .*which has 1 MB"),
    ],
)
def test_what_makes_no_sense_is_one_error_that_names_it(changes, error, message):
    with pytest.raises(error, match=message):
        predict(ask().changed(changes))


def test_a_quantity_in_another_dimension_is_a_unit_error():
    with pytest.raises(UnitError, match="is not in a unit of bytes_per_s"):
        ask().changed({"on.memory.bandwidth_bytes_per_s": "200 GB"})
