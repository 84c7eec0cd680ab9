"""Options and fixtures that every test may use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No example fails on a clock: machines that run tests are shared. In CI the examples are the same
# on every run, so that a red run is about the change; at a desk they are new ones each time.
_NO_CLOCK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("desk", _NO_CLOCK)
settings.register_profile("ci", _NO_CLOCK, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

# Tests are collected for the devices of the catalog, not also for those that a user has calibrated.
_EMPTY_HOME = tempfile.TemporaryDirectory(prefix="scalemodel-home-")
os.environ["SCALEMODEL_HOME"] = _EMPTY_HOME.name

FIGURE = "figure"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh-golden",
        action="store_true",
        help="write the outputs that tests compare with, instead of comparing",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests reported with `report_figure`, above pytest's closing line."""
    reports = terminalreporter.getreports("passed")
    figures = [str(value) for r in reports for name, value in r.user_properties if name == FIGURE]
    if figures:
        terminalreporter.section("figures")
        for line in sorted(set(figures)):
            terminalreporter.write_line(line)


@pytest.fixture
def report_figure(record_property) -> Callable[[str], None]:
    """Report one line of measured figures in the summary; it judges nothing."""
    return lambda line: record_property(FIGURE, line)


@pytest.fixture
def golden(request) -> Callable[[Path, str], None]:
    """Compare text with a file that holds what is expected; `--refresh-golden` writes the file."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--refresh-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing; --refresh-golden writes it"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's own calibrations out of the tests, and the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("scalemodel-home")
        patch.setenv("SCALEMODEL_HOME", str(home))
        patch.setenv("MPLBACKEND", "Agg")  # no window opens
        yield home
