"""Rings of buffers: which footprints, how many bytes a call moves, what mapping memory takes."""

import itertools

import pytest

pytest.importorskip("torch")

from validation.torch_levels import (
    BUFFER_BYTES,
    FRESH_BYTES,
    LARGEST,
    SMALLEST,
    fault_s_per_byte,
    footprints,
    sweep,
)


def test_footprints_grow_by_equal_factors_from_the_smallest_to_the_largest():
    rings = footprints()
    assert (rings[0], rings[-1]) == (SMALLEST, LARGEST)
    factors = [b / a for a, b in itertools.pairwise(rings)]
    assert factors == pytest.approx([2**0.5] * len(factors), rel=1e-3)


@pytest.mark.parametrize("ring", [2**14, 2**17 + 100, 2**21, 2**23])
def test_a_ring_is_as_large_as_wanted_and_a_call_moves_one_pair_of_its_buffers(ring):
    (reach,) = sweep([ring], budget_s=0.0)
    assert reach.footprint_bytes == pytest.approx(ring, rel=0.3)
    assert reach.footprint_bytes <= ring
    assert reach.nbytes <= min(2 * BUFFER_BYTES, reach.footprint_bytes)
    # The ring is whole pairs.
    assert reach.footprint_bytes % reach.nbytes == 0
    assert reach.time_s > 0


def test_mapping_a_byte_takes_what_fresh_memory_takes_longer_than_known_memory():
    ends = iter([3.0, 2.0, 5.0, 1.5, 0.5, 0.75])

    class Clock:
        begun = False

        def __call__(self):
            self.begun = not self.begun
            return 0.0 if self.begun else next(ends)

    # The quickest of three each: what disturbs only adds.
    assert fault_s_per_byte(repeats=3, clock=Clock()) == (2.0 - 0.5) / FRESH_BYTES


def test_memory_that_maps_as_quickly_as_it_is_written_takes_nothing():
    assert fault_s_per_byte(repeats=1, clock=lambda: 0.0) == 0.0
