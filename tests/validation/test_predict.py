"""A scenario's names stand for devices, workloads and plans; what they do not know is an error."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hwmodels.devices import find_device, find_spec, with_fields
from simulator.errors import DoesNotFitError, FileError, InputError, UnitError, UnknownNameError
from simulator.protocols import Placement
from simulator.scenario import Scenario, Value
from simulator.study import Study
from validation.predict import bind, largest_batch, predict, workload_of
from validation.what_if import WhatIf
from workloads.plans import Single, Threads

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
        ({"on": "epyc-774"}, UnknownNameError, "did you mean 'amd-epyc-7742'"),
        ({"on": "nowhere"}, UnknownNameError, "device or system 'nowhere'.*amd-mi300x-node"),
        ({"on": "missing/machine.toml"}, FileError, "missing/machine.toml"),
        ({"plan": "thread"}, UnknownNameError, "did you mean 'threads'"),
        ({"workload.bach": 2}, UnknownNameError, "did you mean 'batch'"),
        ({"plan.thread": 2}, UnknownNameError, "did you mean 'threads'"),
        ({"plan.name": "single"}, UnknownNameError, "unknown parameter of plan threads 'name'"),
        ({"workload.name": "mlp"}, UnknownNameError, "unknown parameter of mlp 'name'"),
        ({"workload.self": 1}, UnknownNameError, "unknown parameter of mlp 'self'"),
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


# --- does it fit

A100 = "nvidia-a100-sxm-80gb"
RESNET = Scenario(workload="resnet50", on=A100, parameters={"workload.training": True})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_million_images_do_not_fit_into_one_accelerator(optimizer, dtype):
    many = {"workload.batch": 2**20, "workload.optimizer": optimizer, "workload.dtype": dtype}
    with pytest.raises(DoesNotFitError, match=rf"needs .* TB .*'{A100}', which has 77.* GB for"):
        predict(RESNET.changed(many))


def test_what_does_not_fit_says_the_largest_batch_that_does():
    largest = largest_batch(RESNET)
    assert predict(RESNET.changed({"workload.batch": largest})).samples_per_step == largest
    with pytest.raises(DoesNotFitError, match=f"; largest batch that fits: {largest}$"):
        predict(RESNET.changed({"workload.batch": largest + 1}))


def test_some_models_do_not_fit_at_all():
    asked = Scenario(workload="gpt-175b", on=A100)
    assert largest_batch(asked) == 0
    with pytest.raises(DoesNotFitError, match=r"; not even a batch of 1 fits$"):
        predict(asked)


def test_sixteen_bits_leave_room_for_twice_as_many_images():
    half = largest_batch(RESNET.changed({"workload.dtype": "bfloat16"}))
    assert half == pytest.approx(2 * largest_batch(RESNET), rel=0.02)


def test_context_and_margin_leave_a_job_less_than_the_whole_memory():
    fields = {"memory.size_bytes": 80e9, "model.context_bytes": 2e9, "model.memory_margin": 0.25}
    device = with_fields(find_device(A100), fields)
    assert device.memory_bytes == pytest.approx(58.5e9)
    without = {"on.model.memory_margin": 0, "on.model.context_bytes": 0}
    assert largest_batch(RESNET.changed(without)) > largest_batch(RESNET)
    everything = with_fields(find_device(A100), {"model.context_bytes": 200e9})
    assert everything.memory_bytes == 0


def test_ranks_that_share_a_device_share_its_memory():
    whole, half = largest_batch(RESNET), largest_batch(RESNET, plan=TwoRanks())
    assert half == pytest.approx(whole / 2, rel=0.01)


@dataclass(frozen=True)
class TwoRanks(Single):
    """Do the step twice on one device, at the same time."""

    def place(self, machine):
        return Placement((0, 0), (1, 1))


def test_where_no_size_is_known_nothing_says_what_fits():
    with pytest.raises(InputError, match=f"'{DEVICE}' has no memory size: nothing says what fits"):
        largest_batch(ask())


def test_points_of_a_sweep_that_do_not_fit_stay_with_their_reason():
    many = [RESNET.changed({"workload.batch": batch}) for batch in (1, 2**20)]
    fits, does_not = WhatIf().many(many)
    assert isinstance(fits, dict)
    assert isinstance(does_not, DoesNotFitError)
    assert f"largest batch that fits: {largest_batch(RESNET)}" in str(does_not)


def test_equal_values_of_other_types_are_not_taken_for_one_another() -> None:
    assert workload_of("mlp", {"training": True}).training
    with pytest.raises(InputError, match="training must be true or false"):
        workload_of("mlp", {"training": 1})


class TestAStepThatWasTimed:
    KNOWN = Scenario(
        workload="resnet50",
        on="dgx-1",
        plan="data-parallel",
        parameters={"workload.batch": 64, "workload.training": True, "on.step_time_s": "180 ms"},
    )

    def test_takes_that_on_one_device_and_more_by_what_many_exchange(self) -> None:
        alone, eight = (
            predict(self.KNOWN.changed({"on.devices": devices})).step_time_s for devices in (1, 8)
        )
        assert alone == pytest.approx(0.180, rel=0.005)
        assert alone < eight < 1.2 * alone

    @pytest.mark.parametrize("seconds", [0, -1.0, True])
    def test_takes_some_time(self, seconds: float) -> None:
        with pytest.raises(InputError, match="known step time: expected positive seconds"):
            predict(self.KNOWN.changed({"on.step_time_s": seconds}))

    @pytest.mark.parametrize("name", ["on", "workload", "workload.batch"])
    def test_says_nothing_of_other_steps(self, name: str) -> None:
        values: dict[str, Value] = {"workload": "resnet50", "on": "dgx-1", "on.step_time_s": 0.18}
        values.pop(name, None)
        with pytest.raises(InputError, match=f"says nothing of another {name}"):
            Study(values=values, grid={name: (1, 2)})
