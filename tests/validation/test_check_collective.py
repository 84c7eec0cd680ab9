"""A collective of the user's own is held to what its name promises, number by number."""

import pytest

from simulator.actions import COLLECTIVES
from tests.simulator.plans import By
from validation.check_collective import Built, check_collective, promised


@pytest.mark.parametrize("kind", COLLECTIVES)
@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_every_built_in_collective_keeps_its_own_promise(kind, ranks):
    assert check_collective(Built(kind), kind, ranks).verdict == "fine"


@pytest.mark.parametrize(
    ("kind", "promise"),
    [("broadcast", "all_gather"), ("reduce", "all_reduce"), ("all_reduce", "broadcast"),
     ("barrier", "all_to_all"), ("all_gather", "reduce_scatter")],
)  # fmt: skip
def test_no_collective_keeps_the_promise_of_another(kind, promise):
    verdict = check_collective(Built(kind), promise, 3)
    assert verdict.broken
    assert f"other numbers than {promise} leaves" in verdict.why


def test_more_than_was_promised_breaks_no_promise():
    assert check_collective(Built("all_reduce"), "reduce", 3).verdict == "fine"
    assert check_collective(Built("all_reduce"), "reduce_scatter", 3).verdict == "fine"


def test_what_a_collective_raises_on_numbers_is_told():
    def races(rank, job):
        started = yield rank.start(rank.all_reduce(job.grad))
        yield rank.all_reduce(job.grad)
        yield rank.wait(started)

    verdict = check_collective(By(races), "all_reduce", 2)
    assert verdict.broken
    assert "buffer 'grad' is written" in verdict.why


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ring_all_reduce", "all_reduce"), ("my_reduce", "reduce"), ("allreduce", "reduce"),
     ("tree", None), ("all_to_all_pairwise", None)],
)  # fmt: skip
def test_a_name_promises_the_collective_that_it_ends_with(name, kind):
    assert promised(name) == kind
