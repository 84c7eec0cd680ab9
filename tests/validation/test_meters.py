"""Energy is read where there is a counter, and is unknown where there is none."""

import sys
from types import SimpleNamespace

import pytest

from validation.meters import RaplMeter, find_meters, metered


@pytest.fixture
def powercap(tmp_path):
    for name, label in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"),
                        ("intel-rapl:1", "package-1")):  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        (folder / "name").write_text(label + "\n")
        (folder / "energy_uj").write_text("5000000\n")
        (folder / "max_energy_range_uj").write_text("9000000\n")
    return tmp_path


def test_a_machine_without_counters_knows_no_energy(tmp_path):
    meters = find_meters(tmp_path)
    with metered(meters) as reading:
        pass
    assert meters == ()
    assert reading.total_j is None


def test_packages_are_summed_and_their_parts_are_not_counted_twice(powercap):
    meters = find_meters(powercap)
    assert [meter.name for meter in meters] == ["package-0", "package-1"]
    with metered(meters) as reading:
        (powercap / "intel-rapl:0" / "energy_uj").write_text("6500000")
        (powercap / "intel-rapl:0:0" / "energy_uj").write_text("6000000")
    assert reading.joules == pytest.approx({"package-0": 1.5, "package-1": 0.0})
    assert reading.total_j == pytest.approx(1.5)


def test_a_counter_that_begins_anew_is_followed_over_its_range(powercap):
    meter = RaplMeter(powercap / "intel-rapl:0")
    assert meter.between_j(8.0, 1.0) == pytest.approx(2.0)


def test_a_counter_that_may_not_be_read_is_no_meter(powercap):
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    assert [meter.name for meter in find_meters(powercap)] == ["package-1"]


class FakeNvml(SimpleNamespace):
    class NVMLError(Exception):
        pass

    def __init__(self, millijoules):
        super().__init__(counters=[iter(values) for values in millijoules])

    def nvmlInit(self):
        if not self.counters:
            raise self.NVMLError("driver not loaded")

    def nvmlDeviceGetCount(self):
        return len(self.counters)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.counters[index]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        value = next(handle)
        if value is None:
            raise self.NVMLError("not supported")
        return value


def test_gpus_that_count_energy_are_read_and_others_are_left_out(tmp_path, monkeypatch):
    fake = FakeNvml([[0, 1000, 4000], [None]])
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    with metered(find_meters(tmp_path)) as reading:
        pass
    assert reading.joules == pytest.approx({"gpu-0": 3.0})


def test_a_library_without_a_driver_gives_no_meter(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml([]))
    assert find_meters(tmp_path) == ()
