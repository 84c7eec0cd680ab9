"""What a user adds lies where the platform keeps user data, or where the user says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwmodels.home import home


def test_the_users_word_goes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"


def test_the_folder_is_absolute_whatever_the_user_wrote(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCALEMODEL_HOME", "mine")
    assert home() == tmp_path / "mine"


@pytest.mark.parametrize(
    ("platform", "variable", "without"),
    [
        ("linux", "XDG_DATA_HOME", Path(".local", "share")),
        ("win32", "LOCALAPPDATA", Path("AppData", "Local")),
        ("darwin", "", Path("Library", "Application Support")),
    ],
)
def test_each_platform_has_its_place(monkeypatch, tmp_path, platform, variable, without):
    monkeypatch.delenv("SCALEMODEL_HOME")
    monkeypatch.setattr("sys.platform", platform)
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert home() == Path.home() / without / "scalemodel"
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
        assert home() == tmp_path / "scalemodel"
