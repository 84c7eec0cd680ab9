"""Name the fitted numbers, say what is thought of them before a fit, and fit them.

Those of the network are one for all applications of a system. Those of an application are drawn
towards a common value, by a spread that says how far they may differ: so what one application
tells little of, others tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.ops import FloatArray
from validation.suites.scaling.model import Numbers, step_s
from validation.suites.scaling.runs import Runs, app_entry


@dataclass(frozen=True, slots=True)
class Parameter:
    """Be a number to fit.

    Parameters
    ----------
    name : with its unit
    centre : value where nothing is measured
    spread : standard deviation of its logarithm (of a share: of its logit)
    share : it lies between 0 and 1
    """

    name: str
    centre: float
    spread: float
    share: bool = False


NETWORK = (
    Parameter("between_bytes_per_s", 0.625e9, 1.0),  # what AWS gives one flow: 5 Gbit/s
    Parameter("within_bytes_per_s", 4e9, 1.0),
    Parameter("pair_factor", 1.5, 0.5),
    Parameter("hop_s", 3e-5, 2.0),
    Parameter("crowding", 0.03, 1.0),
    Parameter("link_jitter", 0.03, 1.0),
)
"""Of the network of a system."""
APP = (
    Parameter("growth", 1.0, 0.1),
    Parameter("host_share", 0.02, 1.5),
    Parameter("jitter", 0.01, 1.0),
    Parameter("overlap", 2 / 3, 0.5, share=True),
    Parameter("small_s", 1e-3, 1.0),
)
"""Of an application, beside those whose centres are its own."""
OF_BATCH = Parameter("of_batch", 1.0, 0.1)
"""By what a batch departs from the form of its application, as one does that fits kernels badly."""
SHARPNESS = 6.0
"""Of the smooth maximum by which a fit begins, as it leads away from poor corners."""
NOISE = 0.05
"""Logarithms of times beyond so much from the model count less than in squares."""
UNKNOWN_SPREAD = 3.0
"""Of a time whose centre is a guess from the data: next to nothing is thought of it before."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Say which parameter stands where in the vector of a fit.

    Parameters
    ----------
    apps : names of the applications
    entries : owner ("" is the network) and parameter of each place
    """

    apps: tuple[str, ...]
    entries: tuple[tuple[str, Parameter], ...]

    @classmethod
    def of(cls, runs: Runs) -> Layout:
        """Return the layout of all applications of some runs."""
        own = [(app, one) for app in runs.apps for one in (*_own(app, runs), *APP)]
        batches = [(name, OF_BATCH) for name in dict.fromkeys(batches_of(runs))]
        return cls(runs.apps, (*(("", one) for one in NETWORK), *own, *batches))

    @property
    def centres(self) -> FloatArray:
        """Return where each place lies before a fit, as logarithm or logit."""
        return np.array([_inward(one, one.centre) for _, one in self.entries])

    @property
    def spreads(self) -> FloatArray:
        """Return the standard deviation of each place."""
        return np.array([one.spread for _, one in self.entries])

    def tables(self, vector: FloatArray) -> dict[str, Any]:
        """Return the numbers of a vector as tables: of the network, and of each application."""
        found: dict[str, dict[str, float]] = {}
        for (owner, one), place in zip(self.entries, vector, strict=True):
            found.setdefault(owner, {})[one.name] = _outward(one, float(place))
        own = {app: found.pop(app) for app in self.apps}
        network = found.pop("")
        return {
            "network": network,
            "app": own,
            OF_BATCH.name: {name: entry[OF_BATCH.name] for name, entry in found.items()},
        }


def _own(app: str, runs: Runs) -> list[Parameter]:
    """Return the parameters whose centres are an application's own."""
    entry = app_entry(app)
    start_s, sample_s = rough_compute_s(runs, runs.apps.index(app))
    return [
        Parameter("start_s", start_s, UNKNOWN_SPREAD),
        Parameter("sample_s", sample_s, UNKNOWN_SPREAD),
        Parameter("gradient_bytes", float(entry["bytes"]), float(entry["spread"])),
    ]


def rough_compute_s(runs: Runs, app: int) -> tuple[float, float]:
    """Return the time of a step and that of each of its samples, seconds, by the fewest devices."""
    from scipy.optimize import nnls

    mine = runs.app == app
    few = mine & (runs.nodes == 1)
    few = few if len(np.unique(runs.batch[few])) > 1 else mine
    time_s, batch = runs.measured_s[few], runs.batch[few]
    found, _ = nnls(np.stack([1 / time_s, batch / time_s], axis=1), np.ones(len(time_s)))
    least = 0.05 * float(np.median(time_s))
    return max(float(found[0]), least), max(float(found[1]), least / float(batch.max()))


def _inward(one: Parameter, value: float) -> float:
    return float(np.log(value / (1 - value) if one.share else value))


def _outward(one: Parameter, place: float) -> float:
    return float(1 / (1 + np.exp(-place)) if one.share else np.exp(place))


def numbers_of(tables: Mapping[str, Any], runs: Runs) -> Numbers:
    """Return the numbers of tables for each run."""
    network = {name: np.full(len(runs.app), value) for name, value in tables["network"].items()}
    names = tables["app"][runs.apps[0]]
    own = {
        name: np.array([tables["app"][app][name] for app in runs.apps])[runs.app] for name in names
    }
    batches = tables[OF_BATCH.name]
    return {
        **network,
        **own,
        OF_BATCH.name: np.array([batches.get(name, 1.0) for name in batches_of(runs)]),
    }


def batches_of(runs: Runs) -> list[str]:
    """Return the application and batch of each run, in words."""
    pairs = zip(runs.app, runs.batch, strict=True)
    return [f"{runs.apps[app]} of {batch:g}" for app, batch in pairs]


def fit_numbers(runs: Runs) -> dict[str, Any]:
    """Return the tables of numbers that fit some runs best.

    Costs a few seconds for 3,000 runs of six applications.
    """
    layout = Layout.of(runs)
    vector = layout.centres
    for sharpness in (SHARPNESS, None):
        vector = _improved(layout, runs, vector, sharpness)
    return layout.tables(vector)


def _improved(layout: Layout, runs: Runs, start: FloatArray, sharpness: float | None) -> FloatArray:
    from scipy.optimize import least_squares

    target, centres, spreads = np.log(runs.measured_s), layout.centres, layout.spreads

    def residuals(vector: FloatArray) -> FloatArray:
        numbers = numbers_of(layout.tables(vector), runs)
        off = (np.log(step_s(numbers, runs, sharpness)) - target) / NOISE
        return np.concatenate([_tamed(off), (vector - centres) / spreads])

    wide = 8 * spreads
    bounds = (centres - wide, centres + wide)
    found = least_squares(residuals, start, bounds=bounds, max_nfev=80)
    return np.asarray(found.x, dtype=np.float64)


def _tamed(off: FloatArray) -> FloatArray:
    """Return residuals whose squares grow like the size where they are large."""
    tamed: FloatArray = np.sign(off) * np.sqrt(2 * (np.sqrt(1 + off**2) - 1))
    return tamed
