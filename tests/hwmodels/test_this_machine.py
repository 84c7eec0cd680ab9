"""The machine at hand is what its calibration says, else what the system says, else assumed."""

import pytest

from hwmodels.device_writer import write_device
from hwmodels.devices import devices_folder, find_spec
from hwmodels.machine_files import Reading, read_machine
from hwmodels.this_machine import NAME, this_machine, this_spec, uncalibrated_spec

ROME = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 23
model\t\t: 49
model name\t: AMD EPYC 7742 64-Core Processor
cpu MHz\t\t: 1500.000
flags\t\t: fpu sse2 avx avx2
"""
PI = """processor\t: 0
Features\t: fp asimd crc32
CPU implementer\t: 0x41
CPU part\t: 0xd08

Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""


class Tree:
    """A machine's /proc and /sys below a folder."""

    def __init__(self, root):
        self.root = root

    def put(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def processors(self, places, allowed=None):
        """Put processors, each (socket, core), and which of them may be used."""
        for number, (socket, core) in enumerate(places):
            folder = f"sys/devices/system/cpu/cpu{number}/topology"
            self.put(f"{folder}/physical_package_id", f"{socket}\n")
            self.put(f"{folder}/core_id", f"{core}\n")
        allowed = allowed or f"0-{len(places) - 1}"
        self.put("proc/self/status", f"Cpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n")

    def cache(self, index, level, kind, size, shared):
        for name, text in (("level", level), ("type", kind), ("size", size),
                           ("shared_cpu_list", shared)):  # fmt: skip
            self.put(f"sys/devices/system/cpu/cpu0/cache/index{index}/{name}", f"{text}\n")


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "root")


@pytest.fixture
def rome(tree):
    """Make two sockets of four cores with two threads each, as Linux numbers them."""
    tree.put("proc/cpuinfo", ROME)
    cores = [(socket, core) for socket in (0, 1) for core in range(4)]
    tree.processors(cores + cores)
    tree.cache(0, 1, "Data", "32K", "0,8")
    tree.cache(1, 1, "Instruction", "32K", "0,8")
    tree.cache(2, 2, "Unified", "512K", "0,8")
    tree.cache(3, 3, "Unified", "16384K", "0-3,8-11")
    tree.put("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3400000\n")
    tree.put("sys/devices/system/node/node0/cpulist", "0-3,8-11\n")
    tree.put("sys/devices/system/node/node1/cpulist", "4-7,12-15\n")
    tree.put("proc/meminfo", "MemTotal:       1024 kB\nMemFree: 3 kB\n")
    return tree


def test_everything_that_linux_says_is_read(rome):
    reading = read_machine(rome.root)
    assert reading == Reading(
        title="AMD EPYC 7742 64-Core Processor",
        isa="x86-64",
        designer="AMD",
        model="23/49",
        flags=("fpu", "sse2", "avx", "avx2"),
        sockets=2,
        cores=4,
        threads_per_core=2,
        clock_hz=1.5e9,
        max_clock_hz=3.4e9,
        l1d_bytes=32 * 1024,
        l2_bytes=512 * 1024,
        l2_cores=1,
        l3_bytes=16 * 2**20,
        l3_cores=4,
        memory_bytes=2**20,
        nodes=1,
    )
    assert reading.unknown == ()


def test_only_processors_that_may_be_used_count(rome):
    rome.put("proc/self/status", "Cpus_allowed_list:\t0-1,8\n")
    reading = read_machine(rome.root)
    assert (reading.sockets, reading.cores, reading.threads_per_core) == (1, 2, 2)


@pytest.mark.parametrize(
    ("grant", "cores"), [("250000 100000", 2), ("50000 100000", 1), ("max 100000", 4)]
)
def test_a_control_group_that_grants_less_time_leaves_fewer_cores(rome, grant, cores):
    rome.put("proc/self/cgroup", "0::/my/job\n")
    rome.put("sys/fs/cgroup/my/cpu.max", grant)
    assert read_machine(rome.root).cores == cores


def test_old_control_groups_are_read_too(rome):
    rome.put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000")
    rome.put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    rome.put("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096")
    reading = read_machine(rome.root)
    assert (reading.cores, reading.memory_bytes) == (3, 4096)


def test_a_memory_limit_of_the_control_group_counts(rome):
    rome.put("proc/self/cgroup", "0::/\n")
    rome.put("sys/fs/cgroup/memory.max", "65536\n")
    assert read_machine(rome.root).memory_bytes == 65536
    rome.put("sys/fs/cgroup/memory.max", "max\n")
    assert read_machine(rome.root).memory_bytes == 2**20


def test_what_cannot_be_read_is_none_and_named(tree):
    tree.put("proc/cpuinfo", PI)
    reading = read_machine(tree.root)
    assert (reading.isa, reading.designer, reading.model) == ("aarch64", "ARM", "0x41/0xd08")
    assert reading.title == "Raspberry Pi 4 Model B Rev 1.4"
    assert {"sockets", "cores", "l1d_bytes", "memory_bytes", "max_clock_hz"} <= set(reading.unknown)


def test_nonsense_in_a_system_file_is_unknown(rome):
    rome.put("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "fast\n")
    rome.put("sys/devices/system/cpu/cpu0/cache/index3/size", "huge\n")
    assert read_machine(rome.root).max_clock_hz is None
    assert read_machine(rome.root).l3_bytes is None


def test_a_system_without_such_files_still_has_a_machine(tree):
    assert this_machine(tree.root).max_threads == 1


def test_what_the_system_says_stands_with_its_source_and_the_rest_is_assumed(rome):
    spec = uncalibrated_spec(read_machine(rome.root))
    like = find_spec("amd-epyc-7742")
    assert spec.architecture == "zen2"
    assert (spec.values["sockets"], spec.values["cores"]) == (2, 4)
    assert spec.sources["cores"].kind == "measured"
    assert spec.values["flops_per_cycle.float32"] == like.values["flops_per_cycle.float32"]
    assert "AMD EPYC 7742" in spec.sources["flops_per_cycle.float32"].text
    assert spec.sources["flops_per_cycle.float32"].kind == "estimate"


def test_another_machines_power_is_not_taken_over(rome):
    spec = uncalibrated_spec(read_machine(rome.root))
    assert not any(key.startswith("power.") for key in spec.values)


def test_the_device_has_the_threads_that_may_be_used(rome):
    assert this_machine(rome.root).max_threads == 16


def test_a_slower_clock_than_the_nearest_devices_leaves_its_clocks_out(rome):
    rome.put("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "2000000\n")
    spec = uncalibrated_spec(read_machine(rome.root))
    assert spec.values["clock.boost_hz"] == 2e9
    assert "clock.base_hz" not in spec.values


def test_a_calibrated_file_goes_before_what_the_system_says(rome, tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "home"))
    write_device(devices_folder() / f"{NAME}.toml", find_spec("rpi4-bcm2711"))
    assert this_spec(rome.root).architecture == "cortex-a72"
    assert this_machine(rome.root).max_threads == 4


def test_the_real_machine_can_be_read():
    device = this_machine()
    assert device.max_threads >= 1
    assert device.times_s is not None
