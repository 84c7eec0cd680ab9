"""Learning is drawn against time, samples, bytes or steps."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import numpy as np

import scalemodel as sm
from scalemodel.plots.learning import AXES, plot_learning
from simulator.errors import InputError, UnknownNameError
from simulator.ideal import ideal_machine


@pytest.fixture(scope="module")
def found():
    model = sm.logistic_regression(batch=16, features=16, classes=4)
    plans = {"all-reduce": sm.DataParallel(), "local": sm.find_plan("local-sgd", every=2)}
    return {name: sm.cosimulate(model, sm.blobs(samples=200), plan, ideal_machine(2), steps=10,
                                judgements=5)
            for name, plan in plans.items()}  # fmt: skip


@pytest.mark.parametrize("against", AXES)
def test_each_run_is_a_line_with_its_own_numbers(found, against):
    (axes,) = plot_learning(found, against).axes
    assert [line.get_label() for line in axes.lines] == list(found)
    for line, one in zip(axes.lines, found.values(), strict=True):
        assert np.array_equal(np.asarray(line.get_xdata()), getattr(one, against))
        assert np.array_equal(np.asarray(line.get_ydata()), one.accuracy)


def test_what_cannot_be_drawn_is_said(found):
    with pytest.raises(UnknownNameError, match="axis"):
        plot_learning(found, "money")
    with pytest.raises(InputError, match="no co-simulation"):
        plot_learning({})
