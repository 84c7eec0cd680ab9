"""Time to accuracy is drawn as hardware times statistics."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import numpy as np

from scalemodel.plots.efficiency import plot_efficiency
from simulator.errors import InputError
from simulator.scenario import Scenario
from validation.time_to_accuracy import Training, time_to_accuracy
from workloads.datasets import blobs

SCENARIO = Scenario(
    workload="logistic-regression", on="gigabit-ethernet", plan="local-sgd",
    parameters={"workload.batch": 4, "workload.features": 6, "workload.classes": 3,
                "on.devices": 3},
)  # fmt: skip


def points(grid, **given):
    data = blobs(samples=400, features=6, classes=3, spread=0.7)
    training = Training(**{"data": data, "target": 0.8, "learning_rates": (0.1,), "seeds": 2,
                           **given})  # fmt: skip
    return time_to_accuracy(SCENARIO, grid, training).points


def test_the_third_panel_is_the_product_of_the_first_two():
    drawn = points({"plan.every": (1, 4, 16)})
    hardware, statistics, product = plot_efficiency(drawn).axes
    step_s, steps, time_s = (np.asarray(axes.lines[0].get_ydata(), float)
                             for axes in (hardware, statistics, product))  # fmt: skip
    assert np.allclose(step_s * steps, time_s)
    assert [label.get_text() for label in product.get_xticklabels()] == ["1", "4", "16"]
    assert product.get_xlabel() == "plan.every"


def test_a_second_name_makes_lines():
    figure = plot_efficiency(points({"plan.every": (1, 4), "plan.slow_ranks": (0, 1)}))
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["slow_ranks=0", "slow_ranks=1"]


def test_names_stand_in_a_row():
    *_, last = plot_efficiency(points({"plan.outer": ("mean", "nesterov")})).axes
    assert [label.get_text() for label in last.get_xticklabels()] == ["mean", "nesterov"]


def test_of_batches_the_critical_one_is_drawn():
    drawn = points({"workload.batch": (1, 4, 16)}, seeds=1)
    _, statistics, _ = plot_efficiency(drawn).axes
    legend = statistics.get_legend()
    assert legend is not None
    assert "critical batch" in legend.get_texts()[-1].get_text()


def test_points_that_do_not_reach_the_target_are_missing():
    drawn = points({"plan.every": (1, 4)}, target=1.0, steps=2)
    hardware, statistics, _ = plot_efficiency(drawn).axes
    assert np.size(hardware.lines[0].get_ydata()) == 2
    assert np.size(statistics.lines[0].get_ydata()) == 0


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(InputError, match="need a target"):
        plot_efficiency([])


def test_panels_that_nothing_reached_say_so():
    drawn = points({"plan.every": (1, 4)}, target=1.0, epochs=1)
    hardware, *others = plot_efficiency(drawn).axes
    assert not list(hardware.texts)
    assert [axes.texts[0].get_text() for axes in others] == ["nothing reached 100 %"] * 2
