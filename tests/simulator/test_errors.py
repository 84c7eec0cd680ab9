"""Errors name what, got, where, and what would be right; each kind has its exit code."""

import pickle
from typing import Any

import pytest

from simulator import errors
from simulator.errors import (
    DoesNotFitError,
    FileError,
    InputError,
    ScalemodelError,
    UnknownNameError,
    nearest,
)


@pytest.mark.parametrize(
    ("kind", "code"), [("InputError", 1), ("DoesNotFitError", 2), ("BoundError", 3),
                       ("DeadlockError", 1)],
)  # fmt: skip
def test_exit_codes(kind, code):
    assert getattr(errors, kind).exit_code == code
    assert issubclass(getattr(errors, kind), ScalemodelError)


@pytest.mark.parametrize(
    ("name", "best"),
    [("h100", "nvidia-h100"), ("resnet5", "resnet50"), ("resnet05", "resnet50"), ("MLP", "mlp"),
     ("zzz", None)],
)  # fmt: skip
def test_the_nearest_name_is_one_that_contains_or_resembles(name, best):
    assert nearest(name, ["nvidia-h100", "resnet50", "mlp"]) == best


def test_an_unknown_name_says_where_and_what_it_could_be():
    text = str(UnknownNameError("device", "h100", ["nvidia-h100"], "scenario.toml"))
    assert text == "unknown device 'h100' in scenario.toml; did you mean 'nvidia-h100'?"
    assert str(UnknownNameError("law", "x", [])) == "unknown law 'x'; known: none"


@pytest.mark.parametrize(
    ("name", "near"),
    [("h100", "'nvidia-h100-sxm' or 'nvidia-h100-pcie'"),
     ("NVIDIA H100", "'nvidia-h100-sxm' or 'nvidia-h100-pcie'"),
     ("h100-typo", "'nvidia-h100-sxm' or 'nvidia-h100-pcie'"),
     ("h100-48gb", "'nvidia-h100-sxm' or 'nvidia-h100-pcie'"),
     ("a100", "'a100-a', 'a100-b' or 'a100-c'")],
)  # fmt: skip
def test_names_that_hold_the_words_of_a_wrong_one_are_proposed_at_most_three(name, near):
    known = ["nvidia-t4", "nvidia-h100-sxm", "nvidia-h100-pcie", "a100-d", "a100-a", "a100-c",
             "a100-b"]  # fmt: skip
    assert str(UnknownNameError("device", name, known)).endswith(f"did you mean {near}?")


def test_of_many_known_names_an_error_lists_some():
    text = str(UnknownNameError("device", "zzz", [f"cpu-{i:03}" for i in range(100)]))
    assert text.startswith("unknown device 'zzz'; known: cpu-000, cpu-001, ")
    assert text.endswith("cpu-023 and 76 more")


def test_what_is_no_text_is_an_unknown_name_too():
    nothing: Any = None
    assert str(UnknownNameError("dtype", nothing, ["int8"])) == "unknown dtype 'None'; known: int8"


def test_a_file_error_names_file_and_key():
    assert str(FileError("a.toml", "is missing", "cores")) == "a.toml: cores: is missing"


def test_input_errors_are_value_errors_too():
    with pytest.raises(ValueError, match="no"):
        raise InputError("no")


def test_errors_cross_process_boundaries():
    error = UnknownNameError("device", "h100", ["nvidia-h100"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    located = FileError("a.toml", "is missing", "cores")
    assert str(pickle.loads(pickle.dumps(located))) == str(located)
    tight = DoesNotFitError("needs 2 GB, has 1 GB", "use a smaller batch")
    assert str(pickle.loads(pickle.dumps(tight))) == str(tight)
