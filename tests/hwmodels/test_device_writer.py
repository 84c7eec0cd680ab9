"""A device file is written whole or not at all, and reads back as what was written."""

import errno
from pathlib import Path

import pytest

from hwmodels.device_file import read_spec
from hwmodels.device_writer import device_text, write_device
from hwmodels.devices import device_names, find_spec
from hwmodels.spec import Calibration, Number
from simulator.errors import FileError
from tests.hwmodels.machines import calibration_of

CALIBRATION = Calibration(
    numbers={
        "fork_s": Number(2e-6, 0.1),
        "family.gemm.float32.rate_per_s": Number(1.05e11, 0.04),
        "family.gemm.float32.half.k": Number(64.0),
        "odd name.x": Number(0.1 + 0.2),
    },
    data='timings of "ops"',
    date="2026-01-31",
    machine="desk\nunder",
    error_ratio=(0.87, 1.21),
)


def same(one, other):
    assert one.values == other.values
    assert one.sources == other.sources
    assert one.others == other.others
    assert (one.title, one.architecture) == (other.title, other.architecture)


@pytest.mark.parametrize("name", device_names())
def test_every_device_of_the_catalog_reads_back_as_it_was_written(name, tmp_path):
    spec = find_spec(name)
    write_device(tmp_path / f"{name}.toml", spec)
    same(read_spec(tmp_path / f"{name}.toml", find_spec), spec)


def test_a_calibration_reads_back_to_the_last_bit(tmp_path):
    spec = find_spec("apple-m1").replaced(calibration=CALIBRATION)
    write_device(tmp_path / "m.toml", spec)
    again = calibration_of(read_spec(tmp_path / "m.toml", find_spec))
    assert again.numbers == CALIBRATION.numbers
    assert (again.data, again.machine) == (CALIBRATION.data, CALIBRATION.machine)
    assert again.error_ratio == CALIBRATION.error_ratio


def test_a_calibrated_twin_says_only_what_differs(tmp_path):
    base = find_spec("apple-m1")
    spec = base.with_fields({"memory.size_bytes": "16 GiB"}).replaced(calibration=CALIBRATION)
    text = device_text(spec, like=base)
    assert text.startswith('size = 5\nlike = "apple-m1"\n')
    assert "l1d_bytes" not in text
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    again = read_spec(tmp_path / "m.toml", find_spec)
    same(again, spec)
    assert calibration_of(again).numbers == CALIBRATION.numbers


def test_what_is_like_a_calibrated_device_keeps_that_calibration():
    spec = find_spec("apple-m1").replaced(calibration=CALIBRATION)
    assert "[calibration]" not in device_text(spec.with_fields({"cores": 2}), like=spec)


def test_writing_makes_the_folder_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "home" / "devices" / "mine.toml"
    write_device(path, find_spec("apple-m1"))
    write_device(path, find_spec("apple-m1"))
    assert [one.name for one in path.parent.iterdir()] == ["mine.toml"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    write_device(path, find_spec("apple-m1"))
    before = path.read_text(encoding="utf-8")

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(FileError, match=r"mine.toml: no space"):
        write_device(path, find_spec("rpi4-bcm2711"))
    assert path.read_text(encoding="utf-8") == before
    assert [one.name for one in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize("line", range(1, 25))
def test_a_copy_cut_off_after_any_line_is_an_error(line, tmp_path):
    spec = find_spec("rpi4-bcm2711").replaced(calibration=CALIBRATION)
    lines = device_text(spec).splitlines(keepends=True)
    path = tmp_path / "mine.toml"
    path.write_text("".join(lines[: len(lines) * line // 25]), encoding="utf-8")
    with pytest.raises(FileError, match=r"mine\.toml"):
        read_spec(path, find_spec)
