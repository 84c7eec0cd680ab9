"""What suites of single kernels share: sets, splits, predictions, baselines."""

import numpy as np
import pytest

from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.fits import COMMON, Fits, SetKey
from hwmodels.gpu.gemm import GEMM
from hwmodels.spec import FamilyFit
from validation import kernel_suite
from validation.cases import Case
from validation.kernel_baselines import RULES, baseline
from validation.kernel_suite import fit, held_out, key_of, predict, predict_by, sets_of
from validation.suite import Prediction, Skip

H100 = "nvidia-h100-sxm-80gb"
KEY = SetKey(H100, "gemm", "bfloat16")


def case(m=64, n=64, k=64, on="h100_sxm", family="gemm", dtype="bfloat16", measured=1e-5):
    settings = {"workload": family, "workload.dtype": dtype, "workload.m": float(m),
                "workload.n": float(n), "workload.k": float(k), "on": on}  # fmt: skip
    return Case(suite="s", group="g", settings=settings, metric="time_s", measured=measured,
                unit="s", source="test", licence="MIT")  # fmt: skip


def test_an_alias_and_the_name_lead_to_one_set():
    sets, skipped = sets_of([case(), case(m=128, on=H100), case(dtype="float8")])
    assert [(one.key, one.places) for one in sets] == [
        (KEY, (0, 1)), (KEY._replace(dtype="float8"), (2,))
    ]  # fmt: skip
    assert sets[0].sizes["m"].tolist() == [64, 128]
    assert sets[0].sizes["batch"].tolist() == [1, 1]
    assert not skipped


@pytest.mark.parametrize(("wrong", "why"), [
    ({"on": "h100_sx"}, "unknown device 'h100_sx'; did you mean 'nvidia-h100-sxm-80gb'"),
    ({"family": "gem"}, "no family of kernels is called 'gem'"),
    ({"dtype": "complex64"}, "does not compute on complex64"),
])  # fmt: skip
def test_what_cannot_be_predicted_says_why_and_the_others_keep_their_place(wrong, why):
    first, second = predict([case(**wrong), case()], {})
    assert isinstance(first, Skip)
    assert why in first.reason
    assert isinstance(second, Prediction)


def test_a_prediction_is_the_form_at_the_numbers_with_the_interval_of_the_fit():
    second = chip_of(kernel_suite.spec_of(H100)).clock_hz
    known = FamilyFit(numbers={**GEMM.start, "floor_cycles": second}, error_ratio=(0.5, 3.0))
    (answer,) = predict_by([case()], lambda _: {("gemm", "bfloat16"): known})
    assert isinstance(answer, Prediction)
    assert answer.value == pytest.approx(1.0, rel=0.01)
    assert (answer.low, answer.high) == (0.5 * answer.value, 3 * answer.value)


def test_whole_groups_are_held_out_about_one_in_five():
    group = ("workload.n", "workload.k")
    shares = [held_out(case(n=n, k=k), group) for n in range(1, 41) for k in range(1, 26)]
    assert 0.15 < np.mean(shares) < 0.25
    for k in range(1, 20):
        assert len({held_out(case(m=m, k=k), group) for m in (1, 7, 512)}) == 1


def assumed(key):
    return {("gemm", "bfloat16"): FamilyFit(numbers=GEMM.start)}


def products(on, slower, seed):
    """Return cases that the form makes, on a device that is so much slower than assumed."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(160):
        m, n, k = (int(2 ** rng.integers(4, 13)) for _ in range(3))
        (answer,) = predict_by([case(m, n, k, on)], assumed)
        assert isinstance(answer, Prediction)
        found.append(case(m, n, k, on, measured=answer.value * slower))
    return list({one.case_id: one for one in found}.values())


@pytest.fixture(scope="module")
def cases():
    return [*products("h100_sxm", 1.1, 0), *products("a100_sxm", 1.3, 1)]


GROUP = ("workload.n", "workload.k")


@pytest.mark.slow
def test_a_fit_names_the_rows_it_saw_and_none_that_is_held_out(cases):
    tables = fit(cases, GROUP, "made up")
    hidden = {one.case_id for one in cases if held_out(one, GROUP)}
    assert hidden
    assert not hidden & set(tables["case_ids"])
    devices = {H100, "nvidia-a100-sxm-80gb", COMMON}
    assert set(tables["fits"]) == {KEY._replace(device=name) for name in devices}
    assert all("made up" in one.data for one in tables["fits"].values())
    assert len(tables["remarks"]) == 2
    assert "as if known by its datasheet only" in tables["remarks"][0]


def test_few_rows_of_a_device_are_not_fitted(cases):
    assert fit(cases[:20], GROUP, "made up")["fits"] == {}


@pytest.mark.parametrize("name", RULES)
def test_baselines_see_only_rows_that_were_fitted(name, cases, monkeypatch):
    seen = [one for one in cases if one.text("on") == "h100_sxm"]
    suite = type("Fake", (), {"cases": lambda self: cases})()
    monkeypatch.setattr("validation.kernel_baselines.find_suite", lambda _: suite)
    run = baseline(RULES[name], "fake")
    answers = run(cases, {"case_ids": [one.case_id for one in seen]})
    for one, answer in zip(cases, answers, strict=True):
        known = one.text("on") == "h100_sxm" or name == "datasheet roofline"
        assert isinstance(answer, Prediction if known else Skip)


def test_the_packaged_fits_are_those_that_predictions_use():
    (answer,) = predict([case(m=4096, n=4096, k=4096)], {})
    assert isinstance(answer, Prediction)
    fits = Fits(kernel_suite.spec_of(H100), kernel_suite.spec_of)
    low, high = fits["gemm", "bfloat16"].error_ratio or (1, 1)
    assert answer.low == pytest.approx(low * answer.value)
    assert answer.high == pytest.approx(high * answer.value)
    assert key_of(case()) == KEY
