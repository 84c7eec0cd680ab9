"""Devices are found by name, alias or file, read one by one, and changed by dotted names."""

import subprocess
import sys

import pytest

from hwmodels import devices
from hwmodels.device_file import read_spec
from hwmodels.device_writer import write_device
from hwmodels.devices import (
    device_names,
    devices_folder,
    find_device,
    find_spec,
    list_devices,
    with_fields,
)
from hwmodels.spec import USER, Calibration, Number, spec_of
from simulator.errors import FileError, InputError, UnitError, UnknownNameError
from simulator.ideal import IdealDevice
from tests.hwmodels.machines import calibration_of


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path))
    return tmp_path


def mine(name, like="rpi4-bcm2711", clock="2 GHz"):
    path = devices_folder() / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'like = "{like}"\n[clock]\nboost_hz = {{ value = "{clock}", source = "me" }}\n'
        '[sources.me]\ntext = "tried"\nkind = "user"\n', encoding="utf-8")  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("H100", "nvidia-h100-sxm-80gb"), ("RTX 4090", "nvidia-rtx-4090"),
     ("rtx4090", "nvidia-rtx-4090"), ("MI300X", "amd-mi300x"), ("TPU v4", "google-tpu-v4"),
     ("a100-80gb", "nvidia-a100-sxm-80gb"), ("Raspberry Pi 4", "rpi4-bcm2711")],
)  # fmt: skip
def test_case_blanks_and_signs_of_a_name_do_not_matter(spelling, name):
    assert find_spec(spelling).name == name


def test_a_name_that_two_devices_have_but_for_signs_is_neither(home):
    mine("card-1")
    mine("card1")
    assert find_spec("card-1").name == "card-1"
    with pytest.raises(UnknownNameError, match="unknown device 'CARD 1'; did you mean 'card1'"):
        find_spec("CARD 1")


def test_the_machine_at_hand_is_proposed_like_any_device():
    with pytest.raises(UnknownNameError, match="did you mean 'this-machine'"):
        find_spec("this-machin")


def test_an_unknown_model_is_answered_with_the_devices_of_that_number():
    for wrong in ("h100-typo", "nvidia-h100", "NVIDIA H100 card"):
        with pytest.raises(UnknownNameError, match=r"did you mean .*'nvidia-h100-sxm-80gb'"):
            find_spec(wrong)


def test_a_name_an_alias_and_a_path_find_the_same_device(home):
    path = mine("board")
    assert find_device("raspberry-pi-4").name == find_device("rpi4-bcm2711").name
    assert find_spec("board").values == find_spec(path).values == find_spec(str(path)).values


def test_an_unknown_name_says_which_is_near():
    with pytest.raises(UnknownNameError, match="unknown device 'epyc-7743'; did you mean"):
        find_device("epyc-7743")


@pytest.mark.parametrize("name", ["", "*", "amd-*", "[a]mple"])
def test_names_are_not_patterns(name):
    with pytest.raises(UnknownNameError):
        find_spec(name)


def test_a_path_that_is_not_there_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        find_spec(tmp_path / "none.toml")


def test_the_users_devices_are_listed_and_found_and_go_first(home):
    mine("board")
    mine("rpi4-bcm2711")
    assert "board" in device_names()
    assert find_spec("rpi4-bcm2711").values["clock.boost_hz"] == 2e9
    origin = {one.name: one.origin for one in list_devices()}
    assert (origin["board"], origin["rpi4-bcm2711"]) == ("user", "user")
    assert origin["rpi5-bcm2712"] == "catalog"


def test_a_file_may_be_like_a_file_that_is_like_another(home):
    mine("board")
    mine("board2", like="board", clock="3 GHz")
    spec = find_spec("board2")
    assert (spec.values["clock.boost_hz"], spec.values["cores"]) == (3e9, 4)


def test_files_that_are_like_each_other_are_an_error(home):
    mine("one", like="two")
    mine("two", like="one")
    with pytest.raises(FileError, match="is like itself, by way of two"):
        find_spec("one")


def test_a_list_names_a_file_that_cannot_be_read(home):
    mine("broken").write_text("kind = ", encoding="utf-8")
    listed = {one.name: one for one in list_devices()}["broken"]
    assert listed.kind == "unreadable"
    assert "broken.toml: is not TOML" in listed.line


def test_an_overlay_says_some_of_it_anew(home):
    calibration = Calibration(numbers={"fork_s": Number(1e-6)}, data="12", date="2026-01-31")
    base = find_spec("apple-m1")
    path = home / "tuned.toml"
    write_device(path, base.with_fields({"cores": 2}).replaced(calibration=calibration), base)
    spec = find_spec("apple-m1", path)
    assert (spec.name, spec.values["cores"]) == ("apple-m1", 2)
    assert calibration_of(spec).numbers == calibration.numbers


def test_fields_are_changed_by_dotted_name_with_or_without_units():
    device = find_device("amd-epyc-7742")
    changed = with_fields(device, {"memory.bandwidth_bytes_per_s": "4 TB/s", "cores": 32})
    assert spec_of(changed).values["memory.bandwidth_bytes_per_s"] == 4e12
    assert (changed.max_threads, device.max_threads) == (64, 128)
    assert spec_of(changed).sources["cores"] == USER
    assert with_fields(device, {"cores": "32"}).max_threads == 64


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"memory.bandwith_bytes_per_s": 1}, UnknownNameError, "did you mean 'memory.bandwidth"),
        ({"cores": 0}, InputError, "expected a whole number from 1"),
        ({"cores": float("nan")}, InputError, "got nan"),
        ({"clock.boost_hz": "3 GB"}, UnitError, "not in a unit of hz"),
        ({"clock.boost_hz": "2 GHz"}, InputError, "clock.base_hz .* above clock.boost_hz"),
        ({"power.idle_w": 300}, InputError, "power.idle_w .* above power.full_w"),
        ({"memory.bandwidth_bytes_per_s": -1}, InputError, "expected a number from"),
        ({"memory.type": 3}, InputError, "expected a text"),
    ],
)
def test_impossible_changes_are_errors(changes, error, says):
    with pytest.raises(error, match=says):
        with_fields(find_device("amd-epyc-7742"), changes)


def test_a_device_without_fields_cannot_be_changed():
    with pytest.raises(InputError, match="'ideal' has no datasheet"):
        with_fields(IdealDevice(), {"cores": 2})


def test_names_are_listed_without_reading_a_file(monkeypatch):
    monkeypatch.setattr(devices, "read_spec", lambda *_: pytest.fail("a file was read"))
    assert "rpi4-bcm2711" in device_names()


def test_finding_a_device_reads_its_file_only(monkeypatch):
    read = []

    def noted(path, find):
        read.append(path.stem)
        return read_spec(path, find)

    monkeypatch.setattr(devices, "read_spec", noted)
    find_spec("amd-epyc-7742")
    find_spec("aws-r4-16xlarge")
    assert read == ["amd-epyc-7742", "aws-r4-16xlarge", "intel-xeon-e5-2686-v4"]


def test_finding_a_device_imports_nothing_slow():
    program = (
        "import sys; from hwmodels.devices import find_device; find_device('apple-m1');"
        "print({m.split('.')[0] for m in sys.modules} & "
        "{'torch', 'pandas', 'scipy', 'networkx', 'matplotlib'})"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
