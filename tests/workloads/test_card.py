"""A complexity card tells what a step needs and how that grows, whatever it runs on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError, UnknownNameError
from workloads.card import COLUMNS, complexity_card
from workloads.registry import MODELS, find_model, find_workload

TINY = {"layers": 1, "width": 16, "heads": 2, "vocabulary": 20}


def growth_of(card, parameter):
    return next(one for one in card.growth if one.parameter == parameter)


def test_a_card_holds_the_sums_of_the_graph():
    card, workload = complexity_card("lenet5", batch=4), find_workload("lenet5", batch=4)
    assert card.flops == workload.graph.flops.sum()
    assert card.bytes_moved == workload.graph.bytes_moved.sum()
    assert (card.ops, card.weight_count, card.samples) == (11, 61_706, 4)
    assert card.arithmetic_intensity == card.flops / card.bytes_moved
    assert sum(one.flops for one in card.kinds) == card.flops
    assert sum(one.ops for one in card.kinds) == card.ops
    assert sum(one.bytes_moved for one in card.kinds) == card.bytes_moved


@given(st.integers(1, 100), st.integers(1, 100))
def test_one_layers_arithmetic_and_weights_grow_with_known_exponents(batch, features):
    card = complexity_card("logistic-regression", batch=batch, features=features, training=False)
    in_batch, in_features = growth_of(card, "batch"), growth_of(card, "features")
    assert (in_batch.flops, in_batch.weight_count) == (1.0, 0.0)
    assert in_features.flops == 1.0
    assert in_features.weight_count == pytest.approx(features / (features + 1), abs=0.2)


def test_attention_is_quadratic_in_a_long_sequence_and_an_image_in_its_side():
    long = complexity_card("gpt", batch=1, sequence=2**14, positions=2**16, **TINY)
    short = complexity_card("gpt", batch=1, sequence=8, layers=1)
    assert growth_of(long, "sequence").flops == pytest.approx(2.0, abs=0.02)
    assert growth_of(short, "sequence").flops == pytest.approx(1.0, abs=0.1)
    assert growth_of(complexity_card("resnet18"), "image").flops == pytest.approx(2.0, abs=0.01)


def test_where_larger_sizes_are_impossible_smaller_ones_are_fitted():
    card = complexity_card("gpt", sequence=1024, **TINY)
    assert growth_of(card, "sequence").sizes == (256, 512, 1024)
    assert growth_of(card, "batch").sizes == (1, 2, 4)


def test_amounts_of_nothing_have_no_exponent():
    assert growth_of(complexity_card("kmeans"), "clusters").weight_count is None


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_card_that_prints_and_is_plain_data(name):
    small = {"layers": 1} if "layers" in find_model(name).parameters else {}
    card = complexity_card(name, **small)
    text = str(card)
    assert all(word in text for word in (name, "arithmetic intensity", "batch", "weights"))
    document = json.loads(json.dumps(card.document()))
    assert document["flops"] == card.flops
    assert [row[0] for row in card.rows()] == list(card.parameters)
    assert {len(row) for row in card.rows()} == {len(COLUMNS)}


def test_bad_input_is_refused_as_by_the_model():
    with pytest.raises(UnknownNameError, match="did you mean 'mlp'"):
        complexity_card("mpl")
    with pytest.raises(InputError, match="mlp: batch must be"):
        complexity_card("mlp", batch=0)
