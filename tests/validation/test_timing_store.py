"""Timings that survive an interruption."""

import pytest

from validation.timing_store import TimingStore

HERE = {"machine": "Abacus", "date": "2026-01-02"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "timings.jsonl"


def test_what_was_put_is_there_again(path):
    TimingStore(path, HERE).put("a", {"times_s": [1.0, 2.0]})
    again = TimingStore(path, HERE)
    assert len(again) == 1
    assert again.get("a") == {"key": "a", "times_s": [1.0, 2.0]}
    assert again.get("b") is None


def test_a_line_that_is_cut_off_is_done_again(path):
    store = TimingStore(path, HERE)
    store.put("a", {"times_s": [1.0]})
    store.put("b", {"times_s": [2.0]})
    text = path.read_text()
    path.write_text(text[:-8])
    again = TimingStore(path, HERE)
    assert again.get("a") is not None
    assert again.get("b") is None


def test_what_is_put_after_a_cut_is_kept(path):
    TimingStore(path, HERE).put("a", {"times_s": [1.0]})
    path.write_text(path.read_text() + '{"key": "b", "ti')
    TimingStore(path, HERE).put("c", {"times_s": [3.0]})
    assert TimingStore(path, HERE).get("c") is not None
    assert TimingStore(path, HERE).get("a") is not None


def test_timings_under_other_conditions_are_not_mixed(path):
    TimingStore(path, HERE).put("a", {})
    assert len(TimingStore(path, {**HERE, "machine": "Slide rule"})) == 0
    assert len(TimingStore(path, HERE)) == 0


@pytest.mark.parametrize("text", ["", "no json\n", "[1, 2]\n", "\x00\n"])
def test_a_file_of_something_else_is_begun_anew(path, text):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    store = TimingStore(path, HERE)
    assert len(store) == 0
    store.put("a", {})
    assert len(TimingStore(path, HERE)) == 1


def test_a_closed_store_leaves_nothing(path):
    store = TimingStore(path, HERE)
    store.close()
    store.close()
    assert not path.exists()
