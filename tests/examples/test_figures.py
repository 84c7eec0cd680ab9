"""Examples draw what they say, where they are asked to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = (
    "05_which_network", "06_400_instead_of_100", "08_all_reduce_or_parameter_server",
    "09_one_straggler", "10_local_steps", "11_federated_deadline",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_clusters_draws_its_figure(name, tmp_path):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "figure.png"
    done = subprocess.run(
        [sys.executable, str(ROOT / f"examples/{name}.py"), "--plot", str(figure)],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
