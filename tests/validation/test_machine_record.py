"""On what a measurement was made, read below a root that the tests make."""

import datetime

import pytest

from validation.machine_record import MachineRecord, machine_record

ROME = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 7742 64-Core Processor
"""


@pytest.fixture
def rome(tmp_path):
    """Make two sockets of two cores with two threads each."""

    def put(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    put("proc/cpuinfo", ROME)
    put("proc/meminfo", "MemTotal:       1024 kB\n")
    put("proc/self/status", "Cpus_allowed_list:\t0-7\n")
    for number in range(8):
        folder = f"sys/devices/system/cpu/cpu{number}/topology"
        put(f"{folder}/physical_package_id", f"{number // 2 % 2}\n")
        put(f"{folder}/core_id", f"{number % 2}\n")
    return tmp_path


def test_cores_and_hardware_threads_are_those_of_all_sockets(rome):
    record = machine_record(rome)
    assert record.processor == "AMD EPYC 7742 64-Core Processor"
    assert (record.cores, record.hardware_threads) == (4, 8)
    assert record.machine == "AMD EPYC 7742 64-Core Processor, 4 cores"


def test_what_cannot_be_found_out_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr("os.cpu_count", lambda: None)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(), raising=False)
    monkeypatch.delattr("os.getloadavg", raising=False)
    record = machine_record(tmp_path)
    assert record.load is None
    assert record.memory_bytes is None
    assert record.processor


def test_a_record_names_software_and_day(rome):
    record = machine_record(rome)
    assert set(record.software) <= {"torch", "numpy"}
    assert f"numpy {record.software['numpy']}" in record.build
    assert abs(datetime.date.fromisoformat(record.date) - datetime.datetime.now(datetime.UTC)
               .date()) <= datetime.timedelta(days=1)  # fmt: skip


def test_a_record_is_ready_for_json():
    record = MachineRecord(processor="Abacus", cores=None, hardware_threads=None,
                           memory_bytes=None, system="wood", software={}, load=0.5,
                           date="2026-01-02")  # fmt: skip
    assert record.as_dict()["cores"] is None
    assert record.machine == "Abacus, unknown number of cores"
