"""The wheel, as a user gets it: built, installed elsewhere, and complete."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("simulator", "hwmodels", "workloads", "validation", "scalemodel")
DATA = {".py", ".toml", ".csv", ".typed"}

# The group keeps both tests on one worker, so that the wheel is built and installed once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


@dataclass(frozen=True)
class Installed:
    """A wheel and an environment of its own that holds nothing else of this project."""

    wheel: Path
    environment: Path
    elsewhere: Path

    def run(self, *command: str) -> str:
        """Return what a command of the environment prints, run from another folder."""
        program = self.environment / "bin" / command[0]
        return _run(str(program), *command[1:], cwd=self.elsewhere)


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _shipped() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in DATA and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    wheel = _build(folder)
    environment = folder / "environment"
    _run(sys.executable, "-m", "venv", "--without-pip", str(environment), cwd=folder)
    python = str(environment / "bin" / "python")
    options = ("--no-deps", "--no-index", "--quiet")
    _run(sys.executable, "-m", "pip", "--python", python, "install", *options, str(wheel), cwd=ROOT)
    _lend_dependencies(environment)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return Installed(wheel, environment, elsewhere)


def _build(folder: Path) -> Path:
    """Build from a copy: a build in the checkout leaves folders there that later wheels pick up."""
    source = folder / "source"
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignore)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    # Folders that a careless list of packages would ship.
    for name in ("tests", "examples", "build"):
        (source / name).mkdir()
        (source / name / "__init__.py").touch()
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder))
    _run(sys.executable, "-m", "pip", "wheel", *options, str(source), cwd=folder)
    return next(folder.glob("*.whl"))


def _lend_dependencies(environment: Path) -> None:
    """Let the environment see what this project depends on, without downloading it again.

    A path file adds the outer site-packages behind the environment's own. Python does not read the
    path files in there, so that an editable install of this checkout stays out of reach.
    """
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(installed):
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == _shipped()
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in about}


def test_the_installed_packages_find_their_own_data_files(installed):
    program = (
        "import importlib, json, pathlib\n"
        f"packages = {PACKAGES!r}\n"
        "homes = [pathlib.Path(importlib.import_module(p).__file__).parent for p in packages]\n"
        "print(json.dumps([str(home) for home in homes]))\n"
    )
    homes = [Path(home) for home in json.loads(installed.run("python", "-I", "-c", program))]
    assert all(installed.environment in home.parents for home in homes)
    catalog = {path.name for path in (ROOT / "hwmodels/catalog").rglob("*.toml")}
    assert catalog
    assert {path.name for path in (homes[1] / "catalog").rglob("*.toml")} == catalog
    fleets = {path.name for path in (ROOT / "workloads/plans/fleets").glob("*.toml")}
    assert {path.name for path in homes[2].glob("plans/fleets/*.toml")} == fleets
    suites = {path.parent.name for path in (ROOT / "validation/suites").glob("*/*.csv")}
    assert {path.parent.name for path in homes[3].glob("suites/*/*.csv")} == suites


def test_the_installed_command_lists_the_devices_of_the_catalog(installed):
    listed = json.loads(installed.run("scalemodel", "list", "devices", "-o", "json"))
    assert len(listed) >= 8
    assert all(entry["kind"] == "device" and entry["name"] for entry in listed)


def test_the_installed_version_is_the_stated_one(installed):
    from simulator.version import VERSION

    program = "from importlib.metadata import version; print(version('scalemodel'))"
    assert installed.run("python", "-I", "-c", program).strip() == VERSION
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "version" not in project
