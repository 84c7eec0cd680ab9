"""The models have the sizes and the arithmetic that their publications state."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError, UnknownNameError
from simulator.memory import peak_memory
from simulator.ops import DTYPES
from simulator.workload import Job
from workloads.model import Model, model
from workloads.patterns import PATTERNS
from workloads.registry import FUNCTIONS, MODELS, find_model, find_workload, list_workloads

PUBLISHED_WEIGHTS = {
    "lenet5": 61_706,
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext101": 44_177_704,
    "se-resnext101": 48_955_416,
    "inception-v3": 23_834_568,
    "mobilenet-v2": 3_504_872,
    "bert-base": 109_482_240,
    "gpt2-small": 124_439_808,
    "hf-gpt2": 124_439_808,
    "gpt2-large": 774_030_080,
    "opt-1.3b": 1_315_758_080,
}
TRAINED = [name for name, one in MODELS.items() if "training" in one.parameters]
# Sizes at which describing a model is quick.
SMALL = {
    "vgg16": {"image": 32},
    "alexnet": {"image": 64},
    "gpt-1.3b": {"layers": 2},
    "gpt-2.7b": {"layers": 2},
    "bert-large": {"layers": 2},
    "gpt2-large": {"layers": 2},
    "hf-opt": {"layers": 2},
    "opt-1.3b": {"layers": 2},
    "gpt-6.7b": {"layers": 2},
    "gpt-175b": {"layers": 2},
}


def small(name, **parameters):
    return find_workload(name, **{**SMALL.get(name, {}), **parameters})


@pytest.mark.parametrize("name", PUBLISHED_WEIGHTS)
@pytest.mark.parametrize("training", [False, True])
def test_weights_are_as_many_as_published(name, training):
    workload = find_workload(name, training=training)
    assert workload.weight_count == PUBLISHED_WEIGHTS[name]
    assert workload.weight_bytes == 4 * PUBLISHED_WEIGHTS[name]


def test_bert_large_has_the_head_of_its_task():
    encoder, classes, masked = 335_141_888, 2 * 1024 + 2, 1024 * 1024 + 3 * 1024 + 30_522
    assert find_workload("bert-large").weight_count == encoder + classes
    pooler = 1024 * 1024 + 1024
    trained = find_workload("bert-large", training=True)
    assert trained.weight_count == encoder - pooler + masked


@pytest.mark.parametrize("name", ["hf-bert", "hf-gpt2", "hf-opt"])
def test_unfused_attention_moves_the_scores_of_all_pairs_several_times(name):
    workload = find_workload(name, batch=1, sequence=512, layers=1, width=64, heads=8,
                             vocabulary=100)  # fmt: skip
    pairs = 8 * 512 * 512
    touching = workload.graph.bytes_moved > 4 * pairs
    assert touching.sum() >= 5
    assert workload.graph.of_kind("attention").sum() == 0


@pytest.mark.parametrize(
    ("name", "billions"),
    [("gpt-1.3b", 1.3), ("gpt-2.7b", 2.65), ("gpt-6.7b", 6.7), ("gpt-175b", 174.6)],
)
def test_the_large_gpts_have_the_size_in_their_name(name, billions):
    assert find_workload(name).weight_count == pytest.approx(billions * 1e9, rel=0.02)


def test_a_resnet50_image_takes_the_arithmetic_of_published_counts():
    """4.089 G multiply-adds at 224 x 224 (He et al., CVPR 2016, print 3.8 G for v1)."""
    assert find_workload("resnet50").graph.flops.sum() == 8_178_368_512


def test_gpts_arithmetic_follows_from_its_sizes():
    """F = 2 tokens (weights in products) + 4 layers batch sequence^2 width; backward twice that.

    Fused attention's backward computes the scores again: 10 instead of 8 products' worth.
    """
    batch, sequence, layers, width, vocabulary = 2, 64, 3, 32, 100
    sizes = {"batch": batch, "sequence": sequence, "layers": layers, "width": width,
             "heads": 4, "vocabulary": vocabulary}  # fmt: skip
    products = 2 * batch * sequence * (12 * layers * width**2 + vocabulary * width)
    attention = 4 * layers * batch * sequence**2 * width
    assert find_workload("gpt", **sizes).graph.flops.sum() == products + attention
    trained = find_workload("gpt", training=True, **sizes).graph.flops.sum()
    assert trained == 3 * products + 3.5 * attention


def test_a_perceptrons_backward_pass_costs_twice_the_forward_but_for_the_first_layer():
    sizes = {"batch": 7, "inputs": 11, "width": 13, "depth": 3, "classes": 5}
    forward = find_workload("mlp", **sizes).graph.flops.sum()
    trained = find_workload("mlp", training=True, **sizes).graph.flops.sum()
    assert trained == 3 * forward - 2 * 7 * 11 * 13


@pytest.mark.parametrize("name", TRAINED)
def test_every_weight_gets_one_gradient_of_its_size(name):
    workload = small(name, training=True)
    assert sum(one.nbytes for one in workload.gradients) == workload.weight_bytes
    ready = [one.op for one in workload.gradients]
    assert all(workload.graph.in_phase("backward")[ready])


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_workload_can_be_cut_into_a_job(name):
    workload = small(name, training=True)
    job = Job.of(workload)
    assert len(job.forward.graph) + len(job.backward.graph) + len(job.update.graph) == len(
        job.step.graph
    )
    assert sum(bucket.nbytes for bucket in job.buckets) == workload.weight_bytes


@pytest.mark.parametrize("name", TRAINED)
def test_inference_is_the_forward_phase_only(name):
    workload = small(name, training=False)
    assert workload.graph.in_phase("forward").all()
    assert not workload.training
    assert (workload.gradients, workload.state_bytes) == ((), 0)


@pytest.mark.parametrize(("optimizer", "copies"), [("none", 0), ("sgd", 0), ("momentum", 1),
                                                   ("adam", 2), ("adamw", 2)])  # fmt: skip
def test_optimizers_keep_so_many_copies_of_the_weights(optimizer, copies):
    workload = find_workload("mlp", training=True, optimizer=optimizer)
    counts = 4 * len(workload.gradients) if copies == 2 else 0
    assert workload.state_bytes == copies * workload.weight_bytes + counts


@pytest.mark.parametrize("name", MODELS)
def test_everything_scales_with_the_batch_but_the_weights(name):
    once, twice = small(name, batch=2), small(name, batch=4)
    assert twice.graph.flops.sum() == pytest.approx(2 * once.graph.flops.sum())
    assert (twice.samples, twice.input_bytes) == (2 * once.samples, 2 * once.input_bytes)
    assert twice.weight_count == once.weight_count
    assert once.graph.bytes_moved.sum() < twice.graph.bytes_moved.sum()


@pytest.mark.parametrize("name", ["mlp", "resnet18", "gpt"])
def test_half_the_bytes_a_number_halve_the_traffic_of_activations_and_weights(name):
    full, half = (find_workload(name, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert half.weight_bytes == full.weight_bytes / 2
    assert half.graph.flops.sum() == full.graph.flops.sum()
    assert half.graph.bytes_moved.sum() == pytest.approx(full.graph.bytes_moved.sum() / 2, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(
    st.fixed_dictionaries(
        {name: st.integers(1, 40) for name in ("batch", "inputs", "width", "classes")}
        | {"depth": st.integers(1, 6)}
    ),
    st.booleans(),
)
def test_graphs_are_sound_whatever_the_sizes(sizes, training):
    workload = find_workload("mlp", training=training, **sizes)
    graph = workload.graph
    owner = np.repeat(np.arange(len(graph)), np.diff(graph.dep_start))
    assert (graph.dep < owner).all()
    assert (graph.weight_bytes <= graph.bytes_read).all()
    assert (graph.allocated_bytes <= graph.bytes_written).all()
    read = np.bincount(owner, graph.dep_bytes, len(graph))
    assert (read <= graph.bytes_read + 1e-9).all()
    weights = sizes["inputs"], *[sizes["width"]] * sizes["depth"], sizes["classes"]
    assert workload.weight_count == sum((a + 1) * b for a, b in itertools.pairwise(weights))


@pytest.mark.parametrize("value", [0, -3, 2.5, math.nan, math.inf, True, "8", None])
def test_a_size_must_be_a_whole_number_of_at_least_one(value):
    with pytest.raises(InputError, match=r"resnet50: batch must be .*; got"):
        find_workload("resnet50", batch=value)


@pytest.mark.parametrize("value", [8, 8.0, np.int64(8), np.float32(8)])
def test_whole_numbers_of_any_type_are_taken(value):
    workload = find_workload("mlp", batch=value)
    assert workload.samples == 8
    assert type(workload.parameters["batch"]) is int


@pytest.mark.parametrize("name", ["resnet18", "lstm", "bert-base"])
def test_tfloat32_is_float32_but_for_the_units_that_multiply(name):
    plain, short = (find_workload(name, dtype=dtype) for dtype in ("float32", "tfloat32"))
    assert {DTYPES[code] for code in short.graph.dtype} == {
        "tfloat32" if DTYPES[code] == "float32" else DTYPES[code] for code in plain.graph.dtype
    }
    assert short.graph.bytes_moved.tolist() == plain.graph.bytes_moved.tolist()
    assert short.graph.names == plain.graph.names
    assert short.parameters == {**plain.parameters, "dtype": "tfloat32"}


def test_words_and_switches_are_checked():
    with pytest.raises(InputError, match=r"mlp: optimizer must be one of .*adam.*; got 'adamx'"):
        find_workload("mlp", training=True, optimizer="adamx")
    with pytest.raises(InputError, match=r"mlp: dtype must be one of .*bfloat16.*; got 'int8'"):
        find_workload("mlp", dtype="int8")
    with pytest.raises(InputError, match="mlp: training must be true or false; got 1"):
        find_workload("mlp", training=1)


def test_sizes_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="gpt: width must be a multiple of heads; got 100 and 12"):
        find_workload("gpt", width=100)
    with pytest.raises(InputError, match=r"gpt: sequence must be at most positions \(1024\)"):
        find_workload("gpt", sequence=2048)
    with pytest.raises(
        InputError, match="alexnet: the image is too small: a window of 3 does not fit"
    ):
        find_workload("alexnet", image=16)


def test_unknown_names_tell_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown workload 'resnet5'; did you mean"):
        find_workload("resnet5")
    with pytest.raises(UnknownNameError, match="unknown parameter of mlp 'widht'; did you"):
        find_workload("mlp", widht=3)
    with pytest.raises(UnknownNameError, match="unknown parameter of kmeans 'training'"):
        find_workload("kmeans", training=True)


def test_models_are_found_by_either_spelling_and_listed_with_defaults():
    assert find_model("bert_base") is find_model("bert-base") is FUNCTIONS["bert_base"]
    listed = list_workloads()
    assert [one.name for one in listed] == sorted([*MODELS, *PATTERNS])
    assert all(one.description for one in listed)
    assert all(int(one.parameters["batch"]) >= 1 for one in MODELS.values())
    assert len({one.description for one in listed}) == len(listed)


def test_parameters_are_kept_with_their_defaults():
    parameters = find_workload("resnet18", batch=4).parameters
    assert parameters == {
        "batch": 4, "image": 224, "classes": 1000, "width": 64,
        "training": False, "optimizer": "sgd", "master": "none", "dtype": "float32",
    }  # fmt: skip


def test_a_preset_changes_defaults_only():
    small_gpt = MODELS["gpt"].preset("tiny", "A tiny one", layers=1, width=8, heads=2)
    assert isinstance(small_gpt, Model)
    assert small_gpt().name == "tiny"
    assert small_gpt(layers=2).weight_count > small_gpt().weight_count


def test_a_users_own_model_is_a_recording_function():
    from workloads.layers import classified, linear

    @model(batch=2, width=3)
    def mine(net, sizes):
        """My own network."""
        x = net.given((sizes.batch, sizes.width))
        return classified(net, linear(net, x, 4), x)

    assert mine(width=5, training=True).weight_count == 24
    assert mine.description == "My own network"


def test_kmeans_and_knn_say_how_much_they_compare():
    step = find_workload("kmeans", batch=100, features=7, clusters=5)
    assert step.graph.flops.sum() == 2 * 100 * 7 * 5
    query = find_workload("knn", batch=3, points=50, features=7, neighbours=60)
    assert query.graph.flops.sum() == 2 * 3 * 50 * 7
    assert query.graph.dim("columns")[query.graph.of_kind("sort")].tolist() == [50]


def test_activations_grow_with_the_batch_and_are_freed_without_training():
    forward, training = (
        peak_memory(find_workload("resnet18", batch=4, training=on))["activations"]
        for on in (False, True)
    )
    assert training > 3 * forward


def test_describing_models_imports_nothing_heavy():
    code = (
        "import sys; from workloads.registry import find_workload; find_workload('resnet50');"
        "print([m for m in ('torch', 'pandas', 'scipy', 'networkx', 'simpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.benchmark
@pytest.mark.parametrize(("name", "sizes"), [
    ("resnet50", {"training": True}),
    ("gpt-175b", {}),
    ("gpt-175b", {"training": True, "optimizer": "adamw"}),
])  # fmt: skip
def test_describing_a_step(benchmark, name, sizes):
    benchmark(find_workload, name, **sizes)
