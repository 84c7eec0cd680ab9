"""Logs of nccl-tests: what is read, and what is refused."""

from __future__ import annotations

import pytest

from simulator.errors import FileError
from tests.validation.nccl_logs import COLUMNS, SIZES, log, row
from validation.nccl_log import TESTS, is_nccl_log, read_nccl_log


@pytest.fixture
def read(tmp_path):
    """Read a text as a log."""

    def reader(text):
        path = tmp_path / "nccl.log"
        path.write_text(text, encoding="utf-8")
        return read_nccl_log(path)

    return reader


def test_a_log_says_kind_dtype_gpu_ranks_nodes_bytes_and_times(read):
    (run,) = read(log(ranks=4, dtype="half"))
    assert (run.kind, run.dtype, run.gpu) == ("all_reduce", "float16", "NVIDIA H100 80GB HBM3")
    assert (run.ranks, run.nodes) == (4, 1)
    assert run.nbytes.tolist() == list(SIZES)
    expected = [(20 + size / 200e3) * 1e-6 for size in SIZES]
    assert run.time_s == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("test", "kind"), TESTS.items())
def test_every_test_is_known_by_its_name(read, test, kind):
    assert read(log(test))[0].kind == kind


def test_several_logs_in_one_file_are_runs_of_their_own(read):
    runs = read(log(ranks=2) + log("all_gather_perf", ranks=8))
    assert [(run.kind, run.ranks) for run in runs] == [("all_reduce", 2), ("all_gather", 8)]


def test_what_a_launcher_prints_is_passed_over(read):
    tagged = "".join(f"[1,0]<stdout>:{line}\n" for line in log().splitlines())
    (run,) = read("mpirun was here\n8 more processes\n" + tagged + "done 3 4 5\n")
    assert len(run.nbytes) == len(SIZES)


def test_hosts_are_nodes(read):
    assert read(log(ranks=16, hosts=2))[0].nodes == 2


def test_without_an_out_of_place_time_the_in_place_one_counts(read):
    line = row(2**20, 20, 200, 8)
    (run,) = read(log().replace(line, line.replace(line.split()[5], "N/A", 1)))
    at = run.nbytes.tolist().index(2.0**20)
    assert run.time_s[at] == pytest.approx((21 + 2**20 / 200e3) * 1e-6, rel=1e-3)


def test_messages_of_no_bytes_are_left_out(read):
    line = row(1024, 20, 200, 8)
    assert len(read(log().replace(line, line.replace("1024", "0", 1)))[0].nbytes) == len(SIZES) - 1


def test_without_the_tests_name_the_bus_bandwidth_tells_an_all_reduce_and_its_ranks(read):
    body = "\n".join([COLUMNS, *(row(size, 20, 200, 4) for size in SIZES)])
    (run,) = read(body)
    assert (run.kind, run.ranks, run.gpu) == ("all_reduce", 4, "")


def test_columns_of_other_versions_are_found_by_their_names(read):
    columns = COLUMNS.replace(" root", "").replace("#wrong", "error")
    lines = [line.replace(" -1 ", " ") for line in (row(size, 20, 200, 4) for size in SIZES)]
    (run,) = read("# Collective test starting: all_reduce_perf\n" + "\n".join([columns, *lines]))
    assert run.time_s[0] == pytest.approx(20e-6, rel=1e-2)


@pytest.mark.parametrize(("text", "expected"), [(log(), True), ("op,dtype,time_s\n", False)])
def test_a_log_is_known_by_its_header(tmp_path, text, expected):
    path = tmp_path / "some"
    path.write_text(text, encoding="utf-8")
    assert is_nccl_log(path) is expected
    assert not is_nccl_log(tmp_path / "missing")


LAST = row(SIZES[-1], 20, 200, 8)
CUT = {
    "no timings": (log(sizes=()), "has no timings of nccl-tests; is it cut off?"),
    "a line cut off": (log().replace(LAST, LAST[:60]), r"expected 13 columns, got \d+; is the log"),
    "no time": (log().replace("20.01", "nan"), "expected a time in microseconds .*, got 'nan'"),
    "a negative time": (log().replace("20.01", "-1.0"), "above 0, got '-1.0'"),
    "wrong elements": (log().replace("      0 ", "      7 "), "7 elements came out wrong"),
    "milliseconds": (log().replace("42969.67", "42.97"), r"are not the 199\.\d+ GB/s beside them"),
    "an unknown test": (log("gather_perf"), "expected a test of .*; got 'gather_perf'"),
    "an unknown dtype": (log(dtype="fp6"), "expected one dtype of .*; got fp6"),
    "a group of one": (log(ranks=1), "expected a group of at least 2 ranks; got 1"),
    "only empty messages": (log(sizes=(0, 0)), "no message of more than 0 bytes"),
    "two kinds of GPU": (log().replace("NVIDIA H100 80GB HBM3", "NVIDIA A40", 1),
                         "expected GPUs of one kind; got NVIDIA A40, NVIDIA H100"),
    "nothing but a gather": ("\n".join([COLUMNS, row(2**30, 20, 200, 8).replace("sum", "none")]),
                             "does not say which collective"),
    "no ranks": ("\n".join(["# Collective test starting: broadcast_perf", COLUMNS, LAST]),
                 "does not say how many ranks"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), CUT.values(), ids=CUT.keys())
def test_what_is_no_log_is_refused_with_the_reason(read, text, problem):
    with pytest.raises(FileError, match=problem):
        read(text)


def test_a_wrong_line_is_named(read):
    at = log().splitlines().index(LAST) + 1
    with pytest.raises(FileError, match=f"line {at}"):
        read(log().replace(LAST, LAST[:60]))


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        read_nccl_log(tmp_path / "missing.log")
    (tmp_path / "binary.log").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="cannot be read"):
        read_nccl_log(tmp_path / "binary.log")
