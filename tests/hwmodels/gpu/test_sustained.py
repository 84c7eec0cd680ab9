"""The share of its peak that a card's power sustains comes from the catalog alone."""

import tomllib
from pathlib import Path

import pytest

from hwmodels.devices import find_spec
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.sustained import joule_per_flop, sustained_share, sustained_sources

FILE = tomllib.loads(Path("hwmodels/catalog/float32_power.toml").read_text(encoding="utf-8"))
ROWS = FILE["full_clock"]


@pytest.mark.parametrize("architecture", ROWS)
def test_each_number_is_power_over_peak_of_the_card_that_it_names(architecture):
    spec = find_spec(ROWS[architecture]["device"])
    ratio = spec.known("power.tdp_w") / spec.known("vector.float32_flop_per_s")
    assert spec.architecture == architecture
    assert ROWS[architecture]["source"] in FILE["sources"]
    assert joule_per_flop()[architecture] == pytest.approx(ratio, rel=1e-3)
    assert sustained_share(spec) == pytest.approx(1.0, rel=1e-3)


def test_small_cards_sustain_less_than_their_peak():
    for name in ("nvidia-t4", "nvidia-l4", "nvidia-tesla-p4"):
        assert 0.3 < sustained_share(find_spec(name)) < 0.8
        assert chip_of(find_spec(name)).sustained_share == sustained_share(find_spec(name))


@pytest.mark.parametrize("name", ["nvidia-k40", "nvidia-k80"])
def test_schedulers_that_feed_a_part_of_the_peak_leave_less(name):
    spec = find_spec(name)
    fed = spec.known("vector.issue_share")
    assert chip_of(spec).sustained_share == pytest.approx(fed * sustained_share(spec))


def test_a_share_says_where_it_is_from():
    (source,) = sustained_sources(find_spec("nvidia-l4"))
    assert "nvidia-rtx-4090" in source.text
    assert not sustained_sources(find_spec("nvidia-rtx-4090"))


def test_where_nothing_is_known_the_peak_counts():
    assert sustained_share(find_spec("nvidia-a100-sxm-80gb")) == 1.0
