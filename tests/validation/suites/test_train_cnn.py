"""Suite train-cnn: its converters, its machines, and how well more GPUs follow from one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwmodels.devices import find_device
from hwmodels.gpu.device import Gpu
from hwmodels.spec import spec_of
from simulator.errors import InputError
from validation.cases import read_table
from validation.compare import compare
from validation.suite import Prediction, Skip
from validation.suites.train_cnn.baselines import ideal, ring
from validation.suites.train_cnn.convert import ABSOLUTE, GOOGLE, NVIDIA, convert
from validation.suites.train_cnn.hosts import gpus_of, host_of, node
from validation.suites.train_cnn.model import absolute, curve_of, input_s, predict, setup_of
from validation.suites.train_cnn.splits import BOARD, fit, is_fitted, known_points
from validation.suites.train_cnn.suite import RELATIVE, SUITE, groups

RAW = Path("../shared/measured")
TABLES = ("resnet_scaling.csv", "tf_scaling.csv", "nvidia_dle_scaling.csv")
STUDY = {
    "study": GOOGLE, "framework": "TensorFlow ~1.2", "model": "VGG16", "gpu": "P100 (DGX-1)",
    "gpus": "8", "batch_per_gpu": "64", "data": "synthetic", "update": "replicated NCCL",
    "precision": "fp32", "throughput_images_per_s": "1200", "scaling_efficiency": "", "note": "",
    "source": "there", "licence": "MIT",
}  # fmt: skip
SYNC = {
    "platform": "DGX-1", "gpu": "P100", "n_gpus": "8", "n_nodes": "1.0", "model": "VGG16",
    "per_gpu_batch_size": "64.0", "data": "synthetic", "sync_config": "replicated+NCCL",
    "metric": "throughput", "value": "1200", "source": "there", "licence": "MIT",
}  # fmt: skip
README = {
    "readme": "x", "framework": "PyTorch", "model": "Classification/ConvNets/resnet50v1.5",
    "section": "Training performance: NVIDIA DGX-1 16GB (8x V100 16GB)", "system": "DGX-1 16GB",
    "gpus": "8", "metric": "Throughput - mixed precision", "throughput": "8322", "batch_info": "",
    "source": "there", "licence": "MIT",
}  # fmt: skip
MODELS = ("InceptionV3", "ResNet-50", "ResNet-152", "VGG16", "AlexNet")


def case(row, **changes):
    (found,) = convert([{**row, **changes}]).cases
    return found


def values(cases, calibration):
    answers = [one for one in predict(cases, calibration) if isinstance(one, Prediction)]
    assert len(answers) == len(cases)
    return np.array([one.value for one in answers])


# --- tables --------------------------------------------------------------------------------------


def test_a_row_that_stands_in_two_tables_is_one_case():
    assert case(STUDY).case_id == case(SYNC).case_id
    assert case(STUDY).settings == {
        "workload": "vgg16", "workload.batch": 64.0, "workload.data": "synthetic",
        "on": "dgx-1-p100", "on.devices": 8.0, "plan": "data-parallel",
        "plan.update": "all-reduce",
    }  # fmt: skip


def test_a_row_of_nvidia_says_its_precision_and_is_the_same_case_in_both_tables():
    other = case(STUDY, study=NVIDIA, framework="PyTorch", model="ResNet-50 v1.5", gpu="DGX-1 16GB",
                 precision="Throughput - mixed precision", note="NVIDIA DGX-1 (8x V100 16GB) | ",
                 throughput_images_per_s="8322")  # fmt: skip
    found = case(README)
    assert found.case_id == other.case_id
    assert (found.group, other.group) == (ABSOLUTE, NVIDIA)
    assert (found.text("workload.dtype"), found.text("workload.master")) == ("float16", "float32")


@pytest.mark.parametrize(("text", "metric", "batch"), [
    ("Batch size / GPU=32", "Throughput - FP32", 32.0),
    ("Batch Size / GPU=128 (FP32) / 256 (AMP)", "Throughput - FP32 + XLA", 128.0),
    ("Batch Size / GPU=128 (TF) / 256 (AMP)", "Throughput - mixed precision", 256.0),
    ("", "Throughput - TF32", 128.0),
])  # fmt: skip
def test_the_batch_of_a_row_is_found_in_its_words(text, metric, batch):
    assert case(README, batch_info=text, metric=metric).number("workload.batch") == batch


def test_a_scaling_efficiency_is_a_case_of_its_own_metric():
    changes = {
        "platform": "Horovod: 128 servers",
        "n_gpus": "512",
        "model": "VGG-16",
        "sync_config": "all-reduce (Horovod)",
        "metric": "scaling efficiency",
        "value": "68",
    }
    found = case(SYNC, **changes)
    assert (found.metric, found.measured, found.number("on.devices")) == (
        "scaling_efficiency", 0.68, 512.0)  # fmt: skip


@pytest.mark.parametrize(("row", "change", "reason"), [
    (STUDY, {"study": "BytePS docs"}, "BytePS docs: no throughput"),
    (STUDY, {"update": "gossip"}, "VGG16, gossip"),
    (SYNC, {"metric": "median step time"}, "DGX-1: median step time"),
    (SYNC, {"platform": "Elsewhere"}, "Elsewhere: throughput"),
    (README, {"model": "Segmentation/VNet"}, "model Segmentation/VNet"),
    (README, {"section": "elsewhere", "system": ""}, "elsewhere"),
    (README, {"gpus": ""}, "no number of GPUs"),
])  # fmt: skip
def test_rows_out_of_scope_say_why(row, change, reason):
    (found,) = convert([{**row, **change}]).out_of_scope
    assert reason in found


def test_another_table_is_refused():
    with pytest.raises(InputError, match="one of the columns study"):
        convert([{"time_s": "1"}])


@pytest.mark.skipif(not RAW.exists(), reason="the raw tables are not shipped")
def test_the_packaged_cases_are_those_of_the_tables():
    found = [one for name in TABLES for one in convert(read_table(RAW / name)).cases]
    assert {one.case_id: one.measured for one in reversed(found)} == {
        one.case_id: one.measured for one in SUITE.cases()
    }


# --- machines ------------------------------------------------------------------------------------


def test_gpus_below_one_root_share_its_link():
    host, real = host_of("gcp-k80x8"), case(STUDY, gpu="GCE n1-standard-32-k80x8", data="real")
    alone = input_s(setup_of(curve_of(real)), host)
    assert input_s(setup_of(real), host) == pytest.approx(host.below_root * alone)
    assert input_s(setup_of(case(STUDY, gpu="GCE n1-standard-32-k80x8")), host) == 0


def test_the_second_gpu_of_a_board_slows_the_first():
    host = host_of("gcp-k80x8")
    one, two = (gpus_of(host, count)[0] for count in (1, 2))
    assert isinstance(one, Gpu)
    assert isinstance(two, Gpu)
    pace = spec_of(find_device(BOARD)).known("board.pace")
    step = setup_of(case(STUDY)).step.graph
    assert one.times_s(step, 1).sum() == pytest.approx(two.times_s(step, 1).sum())
    ends = [float(gpu.profile(step, 1).steps[0][-1]) for gpu in (one, two)]
    assert ends[0] == pytest.approx(pace * ends[1])


def test_a_node_has_its_cpu_after_its_gpus():
    host = host_of("dgx-1-p100")
    made = node(host, gpus_of(host, 4), with_cpu=True)
    assert [one.name for one in made.devices] == [host.gpu] * 4 + [host.cpu]


def test_a_system_whose_host_is_unknown_is_refused():
    with pytest.raises(InputError, match="nothing is known of its host"):
        host_of("dgx-2")


# --- predictions ---------------------------------------------------------------------------------


def test_one_gpu_takes_what_is_known_of_it():
    one = case(STUDY, gpus="1")
    assert values([one], {"known": {one.case_id: 154.0}}) == pytest.approx([154.0])


@pytest.mark.parametrize(("gpu", "update", "counts"), [
    ("P100 (DGX-1)", "replicated NCCL", (2, 4, 8)),
    ("P100 (DGX-1)", "parameter_server cpu", (2, 4, 8)),
    ("K80 (GCE n1-standard-32-k80x8)", "parameter_server cpu", (2, 4, 8)),
    ("K80 (AWS p2.8xlarge)", "replicated no NCCL, gpu", (2, 4, 8)),
    ("K80 (AWS p2.8xlarge)", "distributed_replicated (parameter servers), sync", (8, 16, 32, 64)),
])  # fmt: skip
@pytest.mark.parametrize("model", MODELS)
def test_every_curve_grows_with_its_gpus_and_less_than_in_proportion(gpu, update, counts, model):
    cases = [case(STUDY, gpu=gpu, update=update, model=model, data="real", gpus=str(count))
             for count in counts]  # fmt: skip
    known = {curve_of(cases[0]).case_id: 40.0}
    found = values(cases, {"known": known})
    assert np.all(np.diff(found) > 0)
    assert np.all(found < 40.0 * np.array(counts))
    assert np.all(found > 20.0 * np.array(counts))


def test_without_known_points_predictions_are_absolute():
    (one,) = absolute([case(STUDY)], {})
    (other,) = predict([case(STUDY)], {})
    assert isinstance(one, Prediction)
    assert one == other
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.value < one.high


def test_what_cannot_be_predicted_is_skipped():
    (found,) = predict([case(STUDY, update="parameter_server cpu", gpu="P100 (DGX-1)")], {})
    assert isinstance(found, Prediction)
    unknown = case(README, section="(16x V100 32GB)")
    settings = {**unknown.settings, "plan.update": "host"}
    (found,) = predict([replace(unknown, settings=settings)], {})
    assert isinstance(found, Skip)


def test_baselines_start_from_one_gpu():
    two = case(STUDY, gpus="2")
    assert ideal(two, 154.0) == 308.0
    assert 0.8 * 308.0 < ring(two, 154.0) < 308.0


# --- the split -----------------------------------------------------------------------------------


def test_whole_networks_and_the_largest_scales_are_held_out():
    fitted = [one for one in SUITE.cases() if is_fitted(one)]
    assert {one.text("workload") for one in fitted} == {"alexnet", "inception-v3"}
    counts = {one.text("plan.update"): one.number("on.devices") for one in fitted}
    assert counts == {"host": 4.0, "gpus": 4.0, "hosts": 32.0}


def test_first_points_of_curves_are_given_but_those_of_the_absolute_study():
    first = [one for one in SUITE.cases() if one.number("on.devices") == 1]
    assert set(known_points(first)) == {one.case_id for one in first if one.group != ABSOLUTE}
    assert not known_points([case(README, gpus="1")])


def test_the_packaged_calibration_is_what_a_fit_gives():
    fitted, packaged = fit(SUITE.cases()), SUITE.calibration()
    assert fitted["case_ids"] == packaged["case_ids"]
    assert fitted["known"] == pytest.approx(packaged["known"], rel=1e-5)
    assert fitted["board_pace"] == pytest.approx(packaged["board_pace"], rel=1e-4)


def test_the_catalog_has_the_pace_that_was_fitted():
    pace = spec_of(find_device(BOARD)).known("board.pace")
    assert pace == pytest.approx(SUITE.calibration()["board_pace"], abs=0.003)


def test_throughput_of_more_gpus_is_predicted_from_one_better_than_by_simpler_ways():
    made = compare(SUITE, SUITE.cases(), SUITE.calibration(), "held_out")
    known = SUITE.calibration()["known"]
    judged = [row for row in made.splits["held_out"] if curve_of(row.case).case_id in known]
    figures = made.figures(judged)
    assert figures["skipped"] == 0
    assert figures["median_ape_pct"] < 3.5
    assert figures["mape_pct"] < 6.0
    others = figures["baselines"]
    assert figures["mape_pct"] < min(others[name]["mape_pct"] for name in others
                                     if others[name]["n"] == figures["n"])  # fmt: skip


def test_a_case_is_reported_by_study_system_network_scale_and_data():
    assert groups(case(STUDY)) == (
        GOOGLE, "dgx-1-p100", "vgg16", "8 GPUs", "synthetic data", RELATIVE)  # fmt: skip
    assert groups(case(README, gpus="1")) == (ABSOLUTE, "dgx-1", "resnet50", "1 GPUs")
