"""Example 01: what it ships, and what it does beyond the replay that its output file holds."""

import csv
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples/01_amdahl.py"
TRACES = sorted((ROOT / "examples/data").glob("*.csv"))
RAW = ROOT.parent / "shared/measured/classic_ml_scaling.csv"


def run(*flags):
    """Return what the example prints; it must end well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, flags)],
        capture_output=True, text=True, check=False, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_every_shipped_time_names_its_source_and_licence(trace):
    assert {row["licence"] for row in rows(trace)} == {"MIT"}
    assert all(row["source"].startswith("szilard/GBM-perf@") for row in rows(trace))


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
@pytest.mark.skipif(not RAW.is_file(), reason="the raw table is not here")
def test_every_shipped_time_stands_in_the_raw_table(trace):
    raw = {
        (float(row["n_cores"]), row["core_list"], float(row["time_s"]))
        for row in rows(RAW)
        if row["tool"] == "lightgbm" and "multicore-c5metal/results/" in row["source"]
    }
    assert {(float(r["p"]), r["cores"], float(r["time_s"])) for r in rows(trace)} <= raw


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_a_shipped_trace_has_as_many_cores_as_p(trace):
    for row in rows(trace):
        ends = [part.split("-") for part in row["cores"].split(",")]
        assert sum(int(end[-1]) - int(end[0]) + 1 for end in ends) == int(row["p"])


@pytest.mark.filterwarnings("ignore")
def test_the_program_it_measures_is_k_means(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--replay"])
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # the script sets them; afterwards they are as before
    program = runpy.run_path(str(SCRIPT))
    points, centres = program["POINTS"], program["POINTS"][: program["CLUSTERS"]]
    some = points[:500]
    distances = np.linalg.norm(some[:, None] - centres, axis=2)
    chosen = program["assign"](some, centres)
    np.testing.assert_allclose(distances[np.arange(500), chosen], distances.min(axis=1), atol=1e-3)
    labels = np.arange(len(points)) % program["CLUSTERS"]
    np.testing.assert_allclose(
        program["update"](labels)[7], points[labels == 7].mean(axis=0), rtol=1e-3, atol=1e-5
    )
    assert sum(map(len, program["BLOCKS"])) == len(points)


@pytest.mark.slow
def test_measured_here_it_says_how_much_is_serial_and_what_laws_make_of_it():
    printed = run()
    assert "timed directly" in printed
    assert "serial_fraction" in printed
    assert "Amdahl: at most" in printed
    few = len(os.sched_getaffinity(0)) < 4
    assert ("--replay shows 48 cores" in printed) == few


@pytest.mark.slow
def test_it_replays_times_of_ones_own(tmp_path):
    path = tmp_path / "times.csv"
    lines = [f"{p},{10 * (0.2 + 0.8 / p):.6f}" for p in (1, 2, 4, 8, 16)]
    path.write_text("\n".join(["p,time_s", *lines]))
    printed = run("--replay", path)
    assert "Amdahl: at most 5.0 times as fast" in printed
    assert "*" not in printed.partition("cores  measured")[2]


@pytest.mark.slow
def test_it_draws_what_it_says(tmp_path):
    pytest.importorskip("matplotlib")
    run("--replay", "--plot", tmp_path / "speedup.png")
    assert (tmp_path / "speedup.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_amdahl_breaks_by_12_cores_where_the_universal_law_holds_on_one_socket(trace):
    """The lesson of the example, in the three traces that it ships."""
    table = run("--replay", trace).partition("USL says\n")[2].partition("\n\n")[0]
    told = {}
    for line in table.splitlines():
        cores, amdahl, usl = int(line[:5]), line[31:57], line[57:]
        told[cores] = ("*" in amdahl, "*" in usl)
    measured = np.array([int(row["p"]) for row in rows(trace)])
    assert all(told[p][0] == (p >= 12) for p in np.unique(measured))
    assert not any(told[p][1] for p in np.unique(measured) if p <= 24)
