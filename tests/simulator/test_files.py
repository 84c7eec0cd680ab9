"""A file is written whole or not at all, and what cannot be written is named."""

from __future__ import annotations

import os

import pytest

from simulator.errors import FileError
from simulator.files import check_can_write, read_toml, write_text


def test_a_file_is_written_into_folders_that_are_made_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a" / "b" / "text"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_text(path, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert path.is_fifo()


def test_a_link_stays_a_link_to_what_is_written(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "text")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "text").read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize(("name", "message"), [(".", "got a folder"), ("file/x", "is no folder")])
@pytest.mark.parametrize("write", [check_can_write, lambda path: write_text(path, "x")])
def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path, write, name, message):
    (tmp_path / "file").write_text("here before", encoding="utf-8")
    with pytest.raises(FileError, match=message) as caught:
        write(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "here before"


def test_asking_whether_a_file_can_be_written_makes_nothing(tmp_path):
    check_can_write(tmp_path / "a" / "b" / "text")
    assert not (tmp_path / "a").exists()


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "a.toml"
    with pytest.raises(FileError, match=r"a\.toml: No such file"):
        read_toml(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match=r"a\.toml: expected a TOML file"):
        read_toml(path)
    path.write_text("a = " + "[" * 9000 + "]" * 9000, encoding="utf-8")
    with pytest.raises(FileError, match=r"a\.toml: expected a TOML file: .* too deep"):
        read_toml(path)
