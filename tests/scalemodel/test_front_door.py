"""The public names are in one place, and getting to them is quick."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import scalemodel as sm
from scalemodel.__main__ import main
from workloads.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "pandas", "networkx", "scipy", "matplotlib"}


def python(*words, cwd=ROOT, **env):
    """Run Python in a process of its own, with the packages on its path."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def loaded_by(program):
    done = python("-c", f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_every_public_name_leads_to_something():
    for name in sm.__all__:
        assert getattr(sm, name) is not None


def test_public_names_are_those_of_the_modules_that_define_them():
    for module, names in sm._MODULES.items():
        for name in names:
            assert getattr(sm, name) is getattr(importlib.import_module(module), name)


def test_models_of_the_registry_are_names_too():
    assert sm.mlp is MODELS["mlp"]
    assert sm.bert_base is MODELS["bert-base"]
    assert {"mlp", "simulate", "Threads"} <= {*dir(sm)}


def test_the_first_lines_of_a_user_run():
    step = sm.mlp(batch=32, training=True)
    run = sm.simulate(step, on=sm.device("raspberry-pi-4"), plan=sm.Threads(2))
    assert run.speedup > 1
    assert "step_time_s" in str(run)
    frame = sm.sweep({"plan.threads": [1, 2]}, sm.Scenario(workload="mlp", on="raspberry-pi-4"))
    assert len(frame) == 2


def test_an_unknown_name_is_an_attribute_error_with_the_nearest_one():
    with pytest.raises(AttributeError, match="did you mean 'simulate'"):
        _ = sm.simulat
    assert not hasattr(sm, "__wrapped__")


def test_the_version_is_that_of_the_package():
    assert sm.__version__ == sm.VERSION


def test_importing_the_front_door_imports_none_of_the_others():
    loaded = loaded_by("import scalemodel")
    assert not {name.split(".")[0] for name in loaded} & {*HEAVY, *sm.PACKAGES, "numpy", "simpy"}


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "resnet50", "--on", "amd-epyc-7742"],
        ["predict", "resnet50", "--on", "amd-epyc-7742", "-o", "json"],
        ["predict", "resnet50", "--on", "this-machine", "--threads", "1", "--explain"],
        ["predict", "mlp", "--on", "amd-epyc-7742", "--against", "raspberry-pi-4"],
        ["list"],
        ["show", "amd-epyc-7742"],
    ],
)
def test_quick_commands_load_nothing_slow(words):
    program = (
        f"import sys\nsys.argv = {['scalemodel', *words]!r}\n"
        "from scalemodel.__main__ import main\nassert main() == 0\n"
    )
    assert not {name.split(".")[0] for name in loaded_by(program)} & HEAVY


def test_the_module_can_be_run_as_the_command():
    done = python("-m", "scalemodel", "predict", "mlp", "--on", "amd-epyc-7742", "-o", "json")
    assert json.loads(done.stdout)["value"] > 0
    assert done.stderr == ""
    assert python("-m", "scalemodel", "predict", "mpl").returncode == 1


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m scalemodel trace resnet50 --on amd-epyc-7742 | head -c 10",
        cwd=ROOT,
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == '{"displayT'
    assert done.stderr == ""


COMMAND = f"{sys.executable} -m scalemodel"


def shell(text):
    return subprocess.run(
        ["bash", "-c", text], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", ["", "--help", "--version", "list laws", "plot"])
def test_a_reader_that_is_gone_before_anything_is_written_is_no_error(words):
    done = shell(f"{COMMAND} {words} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no full device")
@pytest.mark.parametrize("words", ["", "--version", "list laws"])
def test_a_full_disk_is_one_error_and_no_mistake_of_ours(words):
    done = shell(f"{COMMAND} {words} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: [Errno 28] No space left on device\n"


def test_what_is_printed_where_nobody_listens_is_dropped():
    assert shell(f"{COMMAND} list laws >&-").returncode == 0
    assert shell(f"{COMMAND} list nothing 2>&-").returncode == 1


def test_an_interrupt_while_modules_are_still_imported_is_said_in_one_word(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("scalemodel.check_packages", interrupted)
    assert main() == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("name", ["validation.py", "workloads/__init__.py"])
def test_a_name_of_ones_own_that_hides_a_package_is_one_clear_error(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("", encoding="utf-8")
    done = python("-m", "scalemodel", "list", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: scalemodel needs its own package")
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    imported = python("-c", "import scalemodel\nscalemodel.simulate", cwd=tmp_path)
    assert "ImportError: scalemodel needs its own package" in imported.stderr


def test_a_folder_of_data_with_such_a_name_hides_nothing(tmp_path):
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "labels.csv").write_text("", encoding="utf-8")
    assert python("-m", "scalemodel", "list", "laws", cwd=tmp_path).returncode == 0


@pytest.mark.benchmark
def test_cold_starts(report_figure):
    def best_s(*words):
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            assert python(*words).returncode == 0
            times.append(time.perf_counter() - begin)
        return min(times)

    bare = best_s("-c", "pass")
    imported = best_s("-c", "import scalemodel") - bare
    command = best_s("-m", "scalemodel", "predict", "resnet50", "--on", "amd-epyc-7742")
    report_figure(f"import scalemodel: {imported:.3f} s above bare Python (target 0.12 s)")
    report_figure(f"scalemodel predict resnet50, cold: {command:.2f} s (target 0.5 s)")


def test_the_machine_at_hand_is_a_device_as_on_the_command_line() -> None:
    assert sm.device("this-machine").name == "this-machine"
