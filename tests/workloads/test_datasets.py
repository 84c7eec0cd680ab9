"""Data are dealt to ranks as their distribution says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simulator.errors import InputError, UnknownNameError
from workloads.datasets import DATASETS, DISTRIBUTIONS, blobs, find_dataset, linear_data

CLOUDS = blobs(samples=500, features=4, classes=5)
LEARNED_FROM = len(CLOUDS.labels)


def classes_of(part):
    return set(CLOUDS.labels[part].tolist())


def epoch(data, rank, ranks, batch=10):
    """Return the samples of the first batches of a rank, as many as it keeps."""
    batches = len(data.parts(ranks)[rank]) // batch
    return np.concatenate([*itertools.islice(data.batches(rank, ranks, batch), batches)])


@pytest.mark.parametrize("how", [one for one in DISTRIBUTIONS if one != "replicated"])
@pytest.mark.parametrize("ranks", [1, 3, 8])
def test_no_two_ranks_keep_the_same_sample_and_their_parts_are_equal(how, ranks):
    parts = CLOUDS.distributed(how).parts(ranks)
    kept = np.concatenate(parts)
    assert len(np.unique(kept)) == len(kept) > LEARNED_FROM - ranks
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("how", DISTRIBUTIONS)
def test_an_epoch_shows_a_rank_each_of_its_samples_once(how):
    data = CLOUDS.distributed(how)
    for rank in range(4):
        seen = epoch(data, rank, 4)
        assert sorted(seen.tolist()) == sorted(data.parts(4)[rank].tolist())


@pytest.mark.parametrize("how", DISTRIBUTIONS)
def test_equal_seeds_deal_alike_and_others_differ(how):
    data = CLOUDS.distributed(how)
    first, same, other = (epoch_of_seed(data, seed) for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()


def epoch_of_seed(data, seed):
    return np.concatenate([*itertools.islice(data.batches(1, 4, 10, seed), 9)])


def test_shuffled_data_are_dealt_anew_in_each_epoch_sharded_ones_are_not():
    for how, same in (("shuffled", False), ("sharded", True)):
        batches = CLOUDS.distributed(how).batches(0, 4, LEARNED_FROM // 4)
        first, second = ({*next(batches).tolist()} for _ in range(2))
        assert (first == second) is same


def test_replicated_data_are_all_on_each_rank_in_an_order_of_its_own():
    data = CLOUDS.distributed("replicated")
    orders = [epoch(data, rank, 3) for rank in range(3)]
    assert all(sorted(order.tolist()) == list(range(LEARNED_FROM)) for order in orders)
    assert (orders[0] != orders[1]).any()


def test_by_label_a_rank_sees_few_classes():
    parts = CLOUDS.distributed("by-label").parts(10)
    assert max(len(classes_of(part)) for part in parts) <= 2


def test_a_dirichlet_distribution_goes_from_one_class_a_rank_to_all_alike():
    """Its shares have variance p (1 - p) / (1 + concentration), before classes are used up."""

    def first_shares(concentration):
        data = CLOUDS.distributed("dirichlet", concentration)
        counts = [np.bincount(CLOUDS.labels[data.parts(50, seed)[0]], minlength=5)
                  for seed in range(200)]  # fmt: skip
        return np.array(counts) / 8

    for concentration in (0.5, 5.0, 1e6):
        shares, prior = first_shares(concentration), 0.2
        of_shares = prior * (1 - prior) / (1 + concentration)
        of_counts = (prior * (1 - prior) - of_shares) / 8  # multinomial, given the shares
        assert shares.mean() == pytest.approx(prior)
        assert shares.var(axis=0).mean() == pytest.approx(of_shares + of_counts, rel=0.15)
    few = CLOUDS.distributed("dirichlet", 1e-6).parts(10)
    assert len(classes_of(few[0])) == 1


def test_data_sets_are_found_by_name():
    assert set(DATASETS) == {"digits", "blobs", "linear-data"}
    assert find_dataset("blobs", samples=100, features=3).inputs.shape == (80, 3)
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        find_dataset("digit")
    with pytest.raises(UnknownNameError, match="parameter of data set blobs 'feature'"):
        find_dataset("blobs", feature=3)


def test_what_cannot_be_dealt_is_said():
    with pytest.raises(UnknownNameError, match="distribution of data"):
        CLOUDS.distributed("iid")
    with pytest.raises(InputError, match="concentration: expected"):
        CLOUDS.distributed("dirichlet", 0.0)
    with pytest.raises(InputError, match="deals classes"):
        linear_data(samples=50).distributed("dirichlet")
    with pytest.raises(InputError, match="too few for 401 ranks"):
        CLOUDS.parts(401)
    with pytest.raises(InputError, match="batch"):
        next(CLOUDS.batches(0, 2, 0))
