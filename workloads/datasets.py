"""Hold what is learned from, and deal it to ranks: scikit-learn's digits, and synthetic data.

Nothing is downloaded. A *distribution* says which rank sees which samples:

- shuffled: all samples are dealt anew in each epoch (torch's DistributedSampler)
- sharded: each rank keeps a random part of its own
- replicated: each rank has all samples, in an order of its own
- by-label: each rank keeps a part of the samples sorted by label, so that it sees few classes
  (McMahan et al., AISTATS 2017)
- dirichlet: each rank keeps as many samples, of classes by shares of its own that are drawn from
  a Dirichlet distribution; the smaller its concentration, the fewer classes (Hsu et al.,
  arXiv:1909.06335, 2019)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, UnknownNameError
from simulator.formula import check_whole, numbers
from simulator.ops import FloatArray, IntArray
from simulator.streams import stream

DISTRIBUTIONS = ("shuffled", "sharded", "replicated", "by-label", "dirichlet")
TEST_SHARE = 0.2
"""Of the samples, kept for tests: the usual fifth."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Hold samples to learn from and samples to be judged by.

    Parameters
    ----------
    name : what it is
    inputs, labels : to learn from (n, ...) and (n,); whole numbers are classes
    test_inputs, test_labels : to be judged by
    distribution : which rank sees which samples, one of `DISTRIBUTIONS`
    concentration : where dirichlet: how alike the ranks' shares of classes are, above 0
    """

    name: str
    inputs: FloatArray
    labels: NDArray[Any]
    test_inputs: FloatArray
    test_labels: NDArray[Any]
    distribution: str = "shuffled"
    concentration: float = 1.0

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise UnknownNameError("distribution of data", self.distribution, DISTRIBUTIONS)
        numbers("concentration", self.concentration, above=True)
        if self.distribution == "dirichlet" and self.labels.dtype.kind not in "iu":
            raise InputError(f"data '{self.name}': a Dirichlet distribution deals classes; the "
                             "labels are none")  # fmt: skip
        pairs = {"training": (self.inputs, self.labels),
                 "test": (self.test_inputs, self.test_labels)}  # fmt: skip
        for what, (inputs, labels) in pairs.items():
            if not len(inputs) == len(labels) >= 1:
                raise InputError(f"data '{self.name}': each {what} sample needs a label; got "
                                 f"{len(inputs)} samples and {len(labels)} labels")  # fmt: skip

    def distributed(self, distribution: str, concentration: float = 1.0) -> Dataset:
        """Return the same data, dealt in another way.

        >>> blobs(samples=10).distributed("by-label").distribution
        'by-label'
        """
        return replace(self, distribution=distribution, concentration=concentration)

    def parts(self, ranks: int, seed: int = 0) -> list[IntArray]:
        """Return which samples each rank keeps; where shuffled, those of the first epoch.

        Raises
        ------
        InputError : there are more ranks than samples
        """
        check_whole("ranks", ranks, 1)
        count = len(self.labels)
        if ranks > count:
            raise InputError(f"data '{self.name}' has {count} samples to learn from, too few for "
                             f"{ranks} ranks")  # fmt: skip
        if self.distribution == "replicated":
            return [np.arange(count)] * ranks
        if self.distribution == "by-label":
            return np.array_split(np.argsort(self.labels, kind="stable"), ranks)
        if self.distribution == "dirichlet":
            return self._mixed(ranks, seed)
        return self._dealt(ranks, 0, seed)

    def _dealt(self, ranks: int, epoch: int, seed: int) -> list[IntArray]:
        """Return equal parts of all samples in a random order; what is left over is left out."""
        order = stream(seed, epoch, "order of samples").permutation(len(self.labels))
        each = len(order) // ranks
        return [order[rank : each * ranks : ranks] for rank in range(ranks)]

    def _mixed(self, ranks: int, seed: int) -> list[IntArray]:
        """Return equal parts, each of classes by shares of its own, while there are samples."""
        draw = stream(seed, 0, "shares of classes")
        classes, counts = np.unique(self.labels, return_counts=True)
        held = [draw.permutation(np.flatnonzero(self.labels == one)) for one in classes]
        prior, left = counts / counts.sum(), counts.copy()
        parts = []
        for _ in range(ranks):
            weights = _weights(draw, self.concentration * prior)
            taken = _drawn(draw, len(self.labels) // ranks, weights, left)
            parts.append(np.concatenate([samples[end - count : end] for samples, count, end
                                         in zip(held, taken, left, strict=True)]))  # fmt: skip
            left = left - taken
        return parts

    def batches(self, rank: int, ranks: int, batch: int, seed: int = 0) -> Iterator[IntArray]:
        """Yield the samples of one batch of a rank after the other, epoch by epoch without end.

        >>> data = blobs(samples=10)
        >>> first = [next(data.batches(rank, 2, batch=4)) for rank in range(2)]
        >>> len({*first[0].tolist(), *first[1].tolist()})
        8
        """
        check_whole("batch", batch, 1)
        own = self.parts(ranks, seed)[rank]
        draw = stream(seed, rank, "batches")
        left, epoch = own[:0], 0
        while True:
            while len(left) < batch:
                if self.distribution == "shuffled":
                    new = self._dealt(ranks, epoch, seed)[rank]
                else:
                    new = draw.permutation(own)
                left, epoch = np.concatenate([left, new]), epoch + 1
            yield left[:batch]
            left = left[batch:]


def _weights(draw: np.random.Generator, shapes: FloatArray) -> FloatArray:
    """Return gamma numbers, over the largest: over their sum they are Dirichlet numbers.

    Of a small shape they are too small for floats, so logarithms are drawn: a number of shape a is
    one of shape a + 1 times a uniform one to the power of 1 / a.
    """
    logs = np.log(draw.standard_gamma(shapes + 1)) - draw.standard_exponential(len(shapes)) / shapes
    found: FloatArray = np.exp(logs - logs.max())
    return found


def _drawn(draw: np.random.Generator, count: int, weights: FloatArray, left: IntArray) -> IntArray:
    """Return how many samples of each class are drawn by weights; of none more than are left."""
    taken = np.zeros_like(left)
    while (missing := count - taken.sum()) > 0:
        there = left > taken
        chances = np.where(there, weights, 0.0)
        if not chances.sum() > 0:  # the classes that were wanted are used up
            chances = there.astype(float)
        wanted = draw.multinomial(missing, chances / chances.sum())
        taken = np.minimum(taken + wanted, left)
    return taken


def _split(name: str, inputs: FloatArray, labels: NDArray[Any], seed: int) -> Dataset:
    """Return data of which a random share is kept for tests."""
    order = stream(seed, 0, f"test samples of {name}").permutation(len(labels))
    kept = max(1, int(TEST_SHARE * len(labels)))
    learn, test = order[kept:], order[:kept]
    return Dataset(name=name, inputs=inputs[learn], labels=labels[learn],
                   test_inputs=inputs[test], test_labels=labels[test])  # fmt: skip


def digits(distribution: str = "shuffled") -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, from 0 to 1.

    Parameters
    ----------
    distribution : which rank sees which samples

    Raises
    ------
    InputError : scikit-learn is missing; the message names the extra

    >>> digits().inputs.shape
    (1438, 1, 8, 8)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("digits need scikit-learn, which is not installed: "
                         "pip install 'scalemodel[study]'") from None  # fmt: skip
    found = load_digits()
    images = (found.images / found.images.max())[:, None].astype(np.float32)
    return _split("digits", images, found.target.astype(np.int64), 0).distributed(distribution)


def blobs(
    samples: int = 2000, features: int = 16, classes: int = 4, spread: float = 1.0, seed: int = 0
) -> Dataset:
    """Return Gaussian clouds, one a class, around centres of unit variance.

    Parameters
    ----------
    samples : in all; a fifth of them is for tests
    features, classes : of each sample, of all
    spread : standard deviation of a cloud
    seed : of the draw

    >>> blobs(samples=100, features=3).inputs.shape
    (80, 3)
    """
    _check_sizes(samples, features=features, classes=classes)
    numbers("spread", spread)
    draw = stream(seed, 0, "blobs")
    centres = draw.standard_normal((classes, features))
    labels = draw.integers(0, classes, samples)
    inputs = centres[labels] + spread * draw.standard_normal((samples, features))
    return _split("blobs", inputs.astype(np.float32), labels, seed)


def linear_data(
    samples: int = 2000, features: int = 16, noise: float = 0.1, seed: int = 0
) -> Dataset:
    """Return numbers that depend on features linearly, up to Gaussian noise: for regression.

    Parameters
    ----------
    samples : in all; a fifth of them is for tests
    features : of each sample
    noise : standard deviation of what the features do not tell
    seed : of the draw

    >>> linear_data(samples=100).labels.shape
    (80,)
    """
    _check_sizes(samples, features=features)
    numbers("noise", noise)
    draw = stream(seed, 0, "linear data")
    inputs = draw.standard_normal((samples, features))
    labels = inputs @ draw.standard_normal(features) + noise * draw.standard_normal(samples)
    return _split("linear data", inputs.astype(np.float32), labels.astype(np.float32), seed)


DATASETS: Mapping[str, Callable[..., Dataset]] = {
    "digits": digits,
    "blobs": blobs,
    "linear-data": linear_data,
}
"""Data sets by name."""


def find_dataset(name: str, /, **parameters: Any) -> Dataset:
    """Return the data set of this name.

    Raises
    ------
    UnknownNameError : no such data set, or no such parameter
    InputError : a value that it cannot have

    >>> find_dataset("blobs", samples=10).inputs.shape
    (8, 16)
    """
    if name not in DATASETS:
        raise UnknownNameError("data set", name, DATASETS)
    known = inspect.signature(DATASETS[name]).parameters
    for key in parameters:
        if key not in known:
            raise UnknownNameError(f"parameter of data set {name}", key, known)
    return DATASETS[name](**parameters)


def _check_sizes(samples: int, **others: int) -> None:
    check_whole("samples", samples, 2)
    for name, value in others.items():
        check_whole(name, value, 1)
