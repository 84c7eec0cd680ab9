"""Plans of distributed training by the front door: listed, explained, predicted, disturbed."""

import json

import pytest
from typer.testing import CliRunner

import scalemodel as sm
from scalemodel.app import make_app

APP = make_app()
TRAIN = ("predict", "mlp", "--on", "dgx-a100-80gb", "--devices", 8, "--set",
         "workload.training=true", "--steps", 3)  # fmt: skip


def run(*words):
    """Run a command."""
    return CliRunner().invoke(APP, [str(word) for word in words])


def document(*words):
    """Run a command and return what it prints as JSON."""
    result = run(*words, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_plans_are_listed():
    names = {one["name"] for one in document("list", "plans")}
    assert names >= {"parameter-server", "local-sgd", "gossip", "hogwild", "federated"}


def test_a_plan_is_shown_with_its_parameters_and_those_that_disturb_it():
    shown = document("show", "parameter-server")
    assert shown["parameters"]["plan.staleness"] == 0
    assert shown["parameters"]["plan.slow_ranks"] == 0
    assert "how many steps a worker may be ahead" in shown["about"]


@pytest.mark.parametrize(
    ("plan", "setting"),
    [
        ("parameter-server", "plan.mode=asynchronous"),
        ("local-sgd", "plan.every=4"),
        ("gossip", "plan.topology=exponential"),
        ("federated", "plan.wanted=3"),
        ("data-parallel", "plan.compression=low-rank"),
        ("data-parallel", "plan.slow_ranks=1"),
    ],
)
def test_plans_are_predicted_with_their_parameters(plan, setting):
    found = document(*TRAIN, "--plan", plan, "--set", setting)
    assert found["metrics"]["step_time_s"]["value"] > 0


def test_a_fleet_of_phones_is_slower_than_its_quickest_and_says_where_it_is_from():
    phones = ("predict", "femnist-cnn", "--on", "phones", "--devices", 21, "--plan", "federated",
              "--set", "workload.training=true", "--steps", 3)  # fmt: skip
    alike, mixed = document(*phones), document(*phones, "--set", "plan.fleet=flash")
    first, second = (one["metrics"]["step_time_s"]["value"] for one in (alike, mixed))
    assert second > 2 * first
    assert any("speed_distri.json" in one["text"] for one in mixed["sources"])


def test_a_deadline_that_nobody_meets_is_said():
    result = run(*TRAIN, "--plan", "federated", "--set", "plan.wanted=3", "--set",
                 "plan.deadline_s=1 us")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "rounds without updates: 3" in result.output


@pytest.mark.parametrize(
    ("plan", "setting", "code", "message"),
    [
        ("local-sgd", "plan.every=0", 1, "every: expected a whole number of at least 1, got 0"),
        ("parameter-server", "plan.servers=9", 2, "needs at least 10 devices"),
        ("parameter-server", "plan.staleness=-1", 1, "staleness: expected a whole number"),
        ("gossip", "plan.slow_rank=1", 1, "did you mean 'slow_ranks'"),
        ("federated", "plan.fleet=flush", 1, "unknown fleet 'flush'; did you mean 'flash'?"),
        ("federated", "plan.fleet=none.toml", 1, "none.toml"),
        ("federated", "plan.deadline_s=0", 1, "deadline_s: expected a finite number above 0"),
        ("federated", "plan.wanted=9", 2, "1 servers, 9 clients of a round"),
    ],
)
def test_bad_parameters_are_told(plan, setting, code, message):
    result = run(*TRAIN, "--plan", plan, "--set", setting)
    assert result.exit_code == code
    assert message in " ".join(result.output.split())


def test_a_plan_is_disturbed_in_python_too():
    machine, step = sm.cluster("dgx-a100-80gb", devices=4), sm.mlp(batch=64, training=True)
    plain = sm.simulate(step, machine, sm.LocalSGD(every=4))
    slow = sm.simulate(step, machine, sm.Stragglers(sm.LocalSGD(every=4), slow_ranks=1))
    assert slow.step_time_s > 1.5 * plain.step_time_s
