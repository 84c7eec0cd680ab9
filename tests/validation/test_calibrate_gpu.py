"""Calibrating a GPU from a table: what is recovered, what it is worth, what the file says."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.devices import devices_folder, find_device, find_spec
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.families import FAMILIES
from hwmodels.relatives import completed
from hwmodels.spec import FamilyFit
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.ops import Graph
from validation.calibrate_gpu import Fitted, calibrate_gpu, known_before, predicting, told_spreads
from validation.fit_gpu import Task, Timings
from validation.timings_file import op_of

A100 = "nvidia-a100-sxm-80gb"
NOISE = 0.02


def spec_of(name=A100):
    return completed(find_spec(name), find_spec)


def drawn(family, count, rng, **fixed):
    """Return sizes of so many kernels, evenly spread in their logarithms."""
    ranges = {"read_bytes": (12, 28), "written_bytes": (12, 28), "m": (3, 13), "n": (7, 13),
              "k": (7, 13), "batch": (0, 0)}  # fmt: skip
    return {name: np.full(count, float(fixed[name])) if name in fixed else
            np.round(2 ** rng.uniform(*ranges[name], count)) for name in family.sizes}  # fmt: skip


def write_table(path, family, dtype, sizes, times):
    lines = [f"op,dtype,{','.join(family.sizes)},time_s"]
    lines += [
        f"{family.name},{dtype},{','.join(f'{sizes[n][i]:.0f}' for n in family.sizes)},{time!r}"
        for i, time in enumerate(times.tolist())
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def made_table(path, name, dtype, fit, count, seed=0, **fixed):
    """Write what kernels take by a fit, with a little noise."""
    rng, family = np.random.default_rng(seed), FAMILIES[name]
    sizes = drawn(family, count, rng, **fixed)
    times = family.parts(chip_of(spec_of()), dtype, fit, sizes).time_s
    return write_table(path, family, dtype, sizes, times * np.exp(rng.normal(0, NOISE, count)))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "home"))
    return tmp_path


TRUE = {"memory_share": 0.55, "floor_s": 8e-6}


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    """Calibrate 80 kernels that stream as `TRUE` says; give the report and the home it is in."""
    home = tmp_path_factory.mktemp("streaming")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALEMODEL_HOME", str(home))
        path = made_table(home / "t.csv", "streaming", "float32", FamilyFit(numbers=TRUE), 80)
        yield calibrate_gpu(path, A100)


WRONG = {"peak_share": 0.6, "memory_share": 0.6, "floor_s": 2.0}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Calibrate 20 products that take longer than the packaged numbers say."""
    home = tmp_path_factory.mktemp("few")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALEMODEL_HOME", str(home))
        known = known_before(spec_of(), FAMILIES["gemm"], "bfloat16")
        slower = {name: value * WRONG.get(name, 1.0) for name, value in known.numbers.items()}
        fit = FamilyFit(numbers=slower, correction=known.correction)
        path = made_table(home / "t.csv", "gemm", "bfloat16", fit, 20, batch=1)
        product = Graph.of([op_of("gemm", "mm", "bfloat16", (1, 8192, 8192, 8192))])
        before = find_device(A100).times_s(product, 1)[0]
        report = calibrate_gpu(path, A100)
        yield report, before, find_device(A100).times_s(product, 1)[0]


# --- what is recovered ---------------------------------------------------------------------------


def test_numbers_that_made_the_timings_are_recovered_within_their_spreads(streaming):
    [one] = streaming.sets
    assert one.full
    for told in one.numbers:
        assert told.told, told
        assert told.value == pytest.approx(TRUE[told.name], rel=0.05)
        assert abs(np.log(told.value / TRUE[told.name])) < 4 * told.spread + 0.01
        assert 0 < told.spread < 0.1


def test_errors_are_told_before_and_after_and_after_is_of_kernels_left_out(streaming):
    [one] = streaming.sets
    assert one.after is not None
    assert one.after.mape_pct < 4 * 100 * NOISE
    assert one.after.mape_pct < one.before.mape_pct
    assert one.datasheet.mape_pct > 20
    assert one.left_out == 80


def test_twenty_timings_improve_numbers_that_are_wrong(few):
    [one] = few[0].sets
    assert not one.full
    assert one.prior == A100
    assert one.after is not None
    assert one.after.mape_pct < 0.5 * one.before.mape_pct


def test_what_a_relative_says_is_kept_where_a_few_timings_do_not_tell(few):
    [one] = few[0].sets
    kept = [told for told in one.numbers if told.remark == "not told by these timings"]
    assert kept
    assert not any(told.told for told in kept)
    for told in kept:
        assert told.value == pytest.approx(told.before, rel=0.5)


def test_numbers_of_8_bit_products_are_not_reported_for_16_bits(few):
    [one] = few[0].sets
    names = {told.name for told in one.numbers}
    assert names == {name for name in FAMILIES["gemm"].parameters if "quantize" not in name}


def test_a_number_that_changes_none_of_the_kernels_keeps_a_spread_of_1():
    family, small = FAMILIES["streaming"], np.full(20, 8.0)
    task = Task(family=family, chip=chip_of(spec_of()), dtype="float32")
    timings = Timings(sizes={"read_bytes": small, "written_bytes": small},
                      time_s=np.full(20, 8e-6))  # fmt: skip
    spreads = told_spreads(Fitted(task, timings, FamilyFit(numbers=TRUE), 0.02))
    assert spreads["memory_share"] == pytest.approx(1.0, abs=0.01)
    assert spreads["floor_s"] < 0.01


def test_a_number_that_would_have_to_lie_beyond_its_bound_is_named(home):
    slow = FamilyFit(numbers={"memory_share": 0.05, "floor_s": 8e-6})
    path = made_table(home / "t.csv", "streaming", "float32", slow, 20)
    [one] = calibrate_gpu(path, A100).sets
    assert [told.remark for told in one.numbers if told.name == "memory_share"] == [
        "at its lower bound"
    ]


# --- what predictions use ------------------------------------------------------------------------


def test_predictions_of_the_device_use_what_was_fitted(few):
    _, before, after = few
    assert after > 1.2 * before


def test_the_file_says_what_was_fitted_and_reads_back_as_it_was(streaming):
    assert streaming.path.name == f"{A100}.toml"
    spec = find_spec(streaming.path)
    assert spec.calibration is not None
    assert spec.calibration.data == "streaming in float32: 80 timings of t.csv"
    fit = spec.calibration.families["streaming", "float32"]
    [one] = streaming.sets
    assert fit.device == A100
    assert fit.correction == one.fit.correction
    assert fit.numbers == pytest.approx(dict(one.fit.numbers), rel=1e-3)
    assert fit.error_ratio == pytest.approx(one.fit.error_ratio, rel=1e-3)
    assert f'like = "{A100}"' in streaming.path.read_text(encoding="utf-8")


def families(name):
    calibration = find_spec(name).calibration
    return {} if calibration is None else calibration.families


def streaming_table(home, count=8, dtype="float32"):
    path = home / f"{dtype}.csv"
    return made_table(path, "streaming", dtype, FamilyFit(numbers=TRUE), count)


def test_families_that_were_fitted_earlier_stay_and_equal_tables_give_equal_numbers(home):
    calibrate_gpu(streaming_table(home), A100)
    first = families(A100)
    calibrate_gpu(streaming_table(home, dtype="float16"), A100)
    calibrate_gpu(streaming_table(home), A100)
    second = families(A100)
    key = ("streaming", "float32")
    assert set(second) == {key, ("streaming", "float16")}
    assert second[key].numbers == first[key].numbers


def test_another_name_leaves_the_catalogs_device_as_it_is(home):
    report = calibrate_gpu(streaming_table(home), A100, name="my-a100")
    assert report.path == devices_folder() / "my-a100.toml"
    assert find_spec("my-a100").calibration is not None
    assert find_spec("my-a100").values == find_spec(A100).values
    assert find_spec(A100).calibration is None


def test_a_device_of_the_users_own_keeps_its_fields_when_it_is_calibrated(home):
    devices_folder().mkdir(parents=True)
    for name in ("mine", A100):
        text = f'like = "{A100}"\nsms = {{ value = 100, source = "me" }}\n[sources.me]\n'
        text += 'text = "counted"\nkind = "user"\n'
        (devices_folder() / f"{name}.toml").write_text(text, encoding="utf-8")
        calibrate_gpu(streaming_table(home), name)
        assert find_spec(name).values["sms"] == 100
        assert find_spec(name).calibration is not None


def test_with_8_timings_there_are_none_to_leave_out(home):
    [one] = calibrate_gpu(streaming_table(home), A100).sets
    assert one.after is None
    assert one.left_out == 0


def test_sets_that_are_too_small_are_left_out_with_a_note_where_another_is_large_enough(home):
    large, small = streaming_table(home), streaming_table(home, 3, "float16")
    rows = small.read_text(encoding="utf-8").splitlines()[1:]
    large.write_text(large.read_text(encoding="utf-8") + "\n".join(rows) + "\n", encoding="utf-8")
    report = calibrate_gpu(large, A100)
    assert [one.dtype for one in report.sets] == ["float32"]
    [note] = report.notes
    assert "streaming in float16 has 3 timings, left out: at least 8" in note


def test_a_family_that_nothing_is_predicted_by_is_named(home):
    [unused] = sorted({"gemm", "linear"} - predicting("bfloat16"))
    path = made_table(home / "t.csv", unused, "bfloat16", FamilyFit(
        numbers=FAMILIES[unused].start), 8, batch=1)  # fmt: skip
    assert any(f"no op in bfloat16 is predicted by {unused}; what is: " in note
               for note in calibrate_gpu(path, A100).notes)  # fmt: skip


def test_where_the_packaged_numbers_may_be_fitted_to_the_same_table_a_note_says_so(home):
    head = "gpu,dtype,m,n,k,time_us,source,source_kind,licence"
    rows = [f"a100_sxm,bf16,{2**i},4096,4096,{20 + i},somewhere,read,MIT" for i in range(8)]
    path = home / "t.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    [note] = calibrate_gpu(path, A100).notes
    assert "what was known was fitted to" in note
    assert "suite gpu-gemm" in note


# --- what is refused -----------------------------------------------------------------------------


def test_three_timings_are_refused_with_what_is_needed(home):
    with pytest.raises(FileError, match=r"has 3 timings; at least 8 .* needed .* 60 to fit"):
        calibrate_gpu(streaming_table(home, 3), A100)
    assert not (devices_folder() / f"{A100}.toml").exists()


def test_what_is_refused_names_the_device(home):
    path = streaming_table(home)
    with pytest.raises(UnknownNameError, match="unknown device 'a1000'"):
        calibrate_gpu(path, "a1000")
    with pytest.raises(InputError, match="'aws-graviton3' is a CPU"):
        calibrate_gpu(path, "aws-graviton3")
    with pytest.raises(InputError, match=r"--name '\.\./x'"):
        calibrate_gpu(path, A100, name="../x")


@pytest.mark.parametrize(("factor", "unit"), [(1e3, "milliseconds"), (1e6, "microseconds")])
def test_a_table_in_another_unit_is_refused(home, factor, unit):
    path = streaming_table(home)
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    scaled = [f"{row.rpartition(',')[0]},{float(row.rpartition(',')[2]) * factor}" for row in rows]
    path.write_text("\n".join([head, *scaled]) + "\n", encoding="utf-8")
    with pytest.raises(FileError, match=f"row 2, column time_s: .*are these {unit}"):
        calibrate_gpu(path, A100)
