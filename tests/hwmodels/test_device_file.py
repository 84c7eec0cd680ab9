"""A device file says each thing once, with a source; whatever is wrong names the file and key."""

import pytest

from hwmodels.device_file import read_spec
from hwmodels.devices import find_spec
from simulator.errors import FileError
from simulator.source import Source
from tests.hwmodels.machines import calibration_of

GOOD = """
kind = "cpu"
title = "Test 1000"
architecture = "zen3"
cores = { value = 4, source = "maker" }
threads_per_core = { value = 2, source = "maker", note = "8 threads" }

[clock]
base_hz = { value = "2 GHz", source = "maker" }
boost_hz = { value = "3 GHz", source = "maker" }

[flops_per_cycle]
float32 = { value = 32, source = "maker" }

[memory]
bandwidth_bytes_per_s = { value = "40 GB/s", source = "maker" }

[sources.maker]
text = "data sheet, page 3"
licence = "facts only"
"""

CALIBRATION = """
[calibration]
data = "12 timings"
date = 2026-01-31
machine = "desk"
software = "torch"
error_ratio = [0.9, 1.2]

[calibration.numbers]
fork_s = { value = "2 us", spread = 0.1 }

[calibration.numbers.family.gemm.float32]
rate_per_s = { value = 1e11, spread = 0.05 }
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "test-1000.toml"
        path.write_text(text, encoding="utf-8")
        return read_spec(path, find_spec)

    return read


def problem(read, text):
    with pytest.raises(FileError) as caught:
        read(text)
    message = str(caught.value)
    assert "test-1000.toml" in message
    assert "\n" not in message
    return message


def test_a_file_gives_numbers_in_inside_units_with_their_sources(read):
    spec = read(GOOD)
    assert (spec.name, spec.title, spec.architecture) == ("test-1000", "Test 1000", "zen3")
    assert spec.values["clock.boost_hz"] == 3e9
    assert spec.values["memory.bandwidth_bytes_per_s"] == 40e9
    assert spec.sources["cores"] == Source("data sheet, page 3", "facts only")
    assert spec.sources["threads_per_core"].note == "8 threads"


def test_plain_numbers_are_in_inside_units(read):
    assert read(GOOD.replace('"3 GHz"', "3e9")).values["clock.boost_hz"] == 3e9


def test_a_bare_number_has_the_file_itself_as_its_source(read):
    spec = read(GOOD.replace('{ value = "3 GHz", source = "maker" }', '"3 GHz"'))
    assert spec.values["clock.boost_hz"] == 3e9
    source = spec.sources["clock.boost_hz"]
    assert (source.text, source.kind) == ("test-1000.toml, which names no source", "user")


def test_what_a_file_does_not_say_is_unknown_not_zero(read):
    spec = read(GOOD)
    assert spec.number("power.tdp_w") is None
    assert "power.tdp_w" not in spec.values


def test_what_other_sources_say_stands_beside_the_number(read):
    also = '"40 GB/s", source = "maker", also = [{ value = "38 GB/s", source = "maker" }]'
    spec = read(GOOD.replace('"40 GB/s", source = "maker"', also))
    assert [value for value, _ in spec.others["memory.bandwidth_bytes_per_s"]] == [38e9]


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ('kind = "cpu"', 'kind = "cpus"', "kind",
         "expected one of cpu, gpu (or system: many devices), got 'cpus'"),
        ('kind = "cpu"', "", "kind", "got None"),
        ("[memory]\nbandwidth_", "[memory]\nbandwith_", "memory.bandwith_bytes_per_s",
         "did you mean 'bandwidth_bytes_per_s'?"),
        ("[memory]", "[memroy]", "memroy", "did you mean 'memory'?"),
        ("cores = { value", "cores = { vlaue", "cores.vlaue", "did you mean 'value'?"),
        ("cores = { value = 4, ", "cores = { ", "cores", "has no value"),
        ('{ value = 4, source = "maker" }', "{ value = 4 }", "cores", "has no source"),
        ('{ value = 4, source = "maker" }', "[4]", "cores", "expected a whole number from 1"),
        ('{ value = 4, source = "maker" }', "4.5", "cores", "expected a whole number from 1"),
        ('4, source = "maker"', '4, source = "makre"', "cores", "did you mean 'maker'?"),
        ('licence = "facts only"', "", "sources.maker.licence", "missing"),
        ('text = "data sheet, page 3"', "", "sources.maker.text", "missing"),
        ('text = "data', 'kind = "hearsay"\ntext = "data', "sources.maker.kind", "hearsay"),
        ('"3 GHz"', '"3 GB"', "clock.boost_hz", "not in a unit of hz"),
        ('"3 GHz"', '"fast"', "clock.boost_hz", "expected a quantity"),
        ('"3 GHz"', "nan", "clock.boost_hz", "finite"),
        ('"3 GHz"', "-3e9", "clock.boost_hz", "expected a number from 1 MHz"),
        ('"3 GHz"', '"1 GHz"', "clock.base_hz", "is above clock.boost_hz (1 GHz)"),
        ("value = 4,", "value = 0,", "cores", "expected a whole number from 1"),
        ("value = 4,", "value = 4.5,", "cores", "expected a whole number from 1"),
        ("value = 4,", "value = true,", "cores", "got True"),
        ("value = 4,", 'value = "four",', "cores", "got 'four'"),
        ("value = 2,", "value = 0,", "threads_per_core", "from 1 to 8"),
        ('"40 GB/s"', '"400 TB/s"', "memory.bandwidth_bytes_per_s", "to 50 TB/s"),
        ('architecture = "zen3"', "", "architecture", "missing"),
        ('architecture = "zen3"', "architecture = 3", "architecture", "expected a text"),
        ('cores = { value = 4, source = "maker" }', "", "cores", "missing"),
        ("[sources.maker]", "[sources.maker]\nurl = 1", "sources.maker.url", "unknown key"),
        ("[sources.maker]", "[sources]\nmaker = 3\n[sources.x]", "sources.maker", "got 3"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_error_that_names_the_key(read, old, new, key, says):
    assert old in GOOD
    message = problem(read, GOOD.replace(old, new, 1))
    assert f": {key}: " in message
    assert says in message


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.97])
def test_a_truncated_file_is_an_error_not_half_a_device(read, share):
    text = GOOD + CALIBRATION
    problem(read, text[: int(len(text) * share)])


def test_a_file_cut_off_between_lines_is_noticed_by_its_size(read):
    whole = "size = 8\n" + GOOD + CALIBRATION
    assert len(read(whole).calibration.numbers) == 2
    cut = whole[: whole.index("[calibration.numbers.family")]
    assert ": size: the file says that it has 8 numbers, but has 7" in problem(read, cut)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileError, match=r"none\.toml: cannot be read: No such file"):
        read_spec(tmp_path / "none.toml", find_spec)


def test_a_file_that_is_not_text_is_an_error(tmp_path):
    (tmp_path / "test-1000.toml").write_bytes(b"\xff\xfe\x00kind")
    with pytest.raises(FileError, match="is not TOML"):
        read_spec(tmp_path / "test-1000.toml", find_spec)


def test_a_file_that_lies_too_deep_is_an_error(tmp_path):
    (tmp_path / "deep.toml").write_text("a = " + "[" * 9000 + "]" * 9000, encoding="utf-8")
    with pytest.raises(FileError, match=r"deep\.toml: is not TOML: tables or lists lie too deep"):
        read_spec(tmp_path / "deep.toml", find_spec)


def test_a_file_like_another_says_only_what_differs(read):
    like = 'like = "rpi4-bcm2711"\n[clock]\nboost_hz = { value = "2 GHz", source = "me" }\n'
    spec = read(like + '[sources.me]\ntext = "overclocked"\nkind = "user"\n')
    base = find_spec("rpi4-bcm2711")
    assert spec.values["clock.boost_hz"] == 2e9
    assert spec.sources["clock.boost_hz"].kind == "user"
    assert spec.values["cores"] == base.values["cores"]
    assert spec.sources["cores"] == base.sources["cores"]


def test_a_file_like_nothing_known_says_what_is_near(read):
    assert "like: unknown device 'rpi4'; did you mean" in problem(read, 'like = "rpi4"')
    assert "like: expected the name" in problem(read, "like = 4")


def test_a_replaced_number_loses_what_others_said_of_the_old_one(tmp_path):
    also = '"40 GB/s", source = "maker", also = [{ value = "38 GB/s", source = "maker" }]'
    base = tmp_path / "base.toml"
    base.write_text(GOOD.replace('"40 GB/s", source = "maker"', also), encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(
        'like = "base"\n[memory]\nbandwidth_bytes_per_s = { value = 5e10, source = "me" }\n'
        '[sources.me]\ntext = "measured"\nkind = "user"\n', encoding="utf-8")  # fmt: skip
    spec = read_spec(path, lambda _: read_spec(base, find_spec))
    assert spec.others == {}


def test_calibrated_numbers_come_with_spread_data_and_date(read):
    calibration = read(GOOD + CALIBRATION).calibration
    assert calibration.numbers["fork_s"].value == pytest.approx(2e-6)
    assert calibration.numbers["family.gemm.float32.rate_per_s"].spread == 0.05
    assert (calibration.data, calibration.date) == ("12 timings", "2026-01-31")
    assert calibration.error_ratio == (0.9, 1.2)
    assert calibration.source == Source("12 timings, desk, torch, 2026-01-31", kind="calibrated")


def test_a_calibration_remembers_the_fields_of_what_was_measured(read):
    calibration = read(GOOD + CALIBRATION).calibration
    assert calibration.reference["clock.boost_hz"] == 3e9
    assert calibration.reference_name == "test-1000"


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ('data = "12 timings"', "", "calibration.data", "missing"),
        ("date = 2026-01-31", "", "calibration.date", "missing"),
        ("data =", "dat =", "calibration.dat", "did you mean 'data'?"),
        ('"2 us"', '"2 GB"', "calibration.numbers.fork_s", "not in a unit of s"),
        ('"2 us"', "-1.0", "calibration.numbers.fork_s", "0 or more"),
        ('"2 us"', "nan", "calibration.numbers.fork_s", "got nan"),
        ("spread = 0.1", "spread = -0.1", "calibration.numbers.fork_s.spread", "from 0 to 10"),
        ("spread = 0.1", "sread = 0.1", "calibration.numbers.fork_s.sread", "unknown key"),
        ("[0.9, 1.2]", "[1.2, 0.9]", "calibration.error_ratio", "smaller first"),
        ("[0.9, 1.2]", '"wide"', "calibration.error_ratio", "got 'wide'"),
        ("{ value = 1e11, spread = 0.05 }", "1e11",
         "calibration.numbers.family.gemm.float32.rate_per_s", "expected a table"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_calibration_is_one_error(read, old, new, key, says):
    assert old in CALIBRATION
    message = problem(read, GOOD + CALIBRATION.replace(old, new, 1))
    assert f": {key}: " in message
    assert says in message


def test_a_calibration_without_numbers_is_an_error(read):
    text = GOOD + '[calibration]\ndata = "none"\ndate = "2026-01-31"\n'
    assert "calibration.numbers: missing or empty" in problem(read, text)


FAMILIES = """
like = "nvidia-t4"

[calibration]
data = "80 timings"
date = 2026-01-31

[calibration.families.streaming.float32]
data = "80 timings"
device = "test-1000"

[calibration.families.streaming.float32.numbers]
memory_share = { value = 0.8, spread = 0.1 }
floor_s = { value = "5 us", spread = 0.1 }
"""


def test_a_calibration_has_all_numbers_of_its_families(read):
    (fit,) = calibration_of(read(FAMILIES)).families.values()
    assert fit.numbers == pytest.approx({"memory_share": 0.8, "floor_s": 5e-6})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("floor_s = ", "# floor_s = ", "lacks floor_s: a calibration of another version; delete"),
        ("floor_s", "ceiling_s", "lacks floor_s, has ceiling_s, which is unknown: a calibration"),
        ("streaming", "steaming", "did you mean 'streaming'?"),
        ('"80 timings"\ndevice', '"8"\ncorrection = [0.1, 0.2]\ndevice', "of 2 points"),
    ],
)  # fmt: skip
def test_a_calibration_of_another_version_is_an_error(read, old, new, says):
    assert old in FAMILIES
    message = problem(read, FAMILIES.replace(old, new))
    assert says in message
    assert "calibration.families." in message
