"""NCCL's collectives in a node: forms, and whose numbers they are timed by."""

import numpy as np
import pytest

from hwmodels.device_writer import write_family_fit
from hwmodels.devices import find_spec
from hwmodels.gpu.fits import SetKey, fits_file
from hwmodels.network.nccl import KINDS, family, fit_key, parts_of
from hwmodels.network.nccl_fits import PACKAGED, Nccl, Spread, converted, lent, middle, relatives
from hwmodels.network.nccl_nodes import find_fabric
from hwmodels.network.nccl_plan import Calls, wires_of
from hwmodels.spec import FamilyFit
from simulator.errors import FileError, InputError

SIZES = 2.0 ** np.arange(9, 34)


def nccl(device):
    return Nccl(spec=find_spec(device), find=find_spec, folders=(PACKAGED,))


def time_s(device, kind, nbytes, ranks, dtype="float16"):
    return sum(nccl(device).parts_s(kind, np.atleast_1d(np.asarray(nbytes, float)), ranks, dtype))


@pytest.mark.parametrize("device", ["a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm", "v100", "l40s",
                                    "rtx_pro_6000_server", "mi300x"])  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_takes_finite_time_that_grows_with_the_message(device, kind):
    times = time_s(device, kind, SIZES, 8)
    assert np.isfinite(times).all()
    assert (times > 1e-6).all()
    assert times[-1] > 100 * times[0]


def test_large_messages_of_a_ring_cost_in_proportion_to_the_rings_factor():
    four, eight = (time_s("a100_sxm", "all_gather", 2.0**33, n)[0] for n in (4, 8))
    assert eight / four == pytest.approx((7 / 8) / (3 / 4), rel=0.1)


def test_a_small_message_takes_a_latency_for_each_step():
    two, four, eight = (time_s("h100_sxm", "all_reduce", 1024.0, n)[0] for n in (2, 4, 8))
    assert (eight - four) / (four - two) == pytest.approx(2.0, rel=0.2)


def test_the_switch_beats_the_bus_bandwidth_of_the_wire():
    h100 = find_spec("h100_sxm").known("link.scaleup_bytes_per_s")
    bus = 2 * 7 / 8 * 2.0**33 / time_s("h100_sxm", "all_reduce", 2.0**33, 8)[0]
    by_ring = 2 * 7 / 8 * 2.0**33 / time_s("h100_sxm", "all_reduce", 2.0**33, 8, "int8")[0]
    assert by_ring < 0.9 * h100 < bus


def test_fixed_and_moving_parts_add_up_and_only_the_moving_one_follows_the_wire():
    spec = find_spec("a100_sxm")
    wires, one = wires_of(spec), family("all_gather", wires_of(spec))
    fit = FamilyFit(numbers=one.start)
    parts = parts_of(Calls("all_gather", "any", wires, np.array([2.0**30]), np.array([8.0])), fit)
    assert parts.time_s[0] == parts.overhead_s[0] + parts.memory_s[0]
    share = fit.numbers["simple_share"]
    part = 2.0**30 / 8 / (wires.bytes_per_s * share)
    crowd = 4 ** fit.numbers["group_power"]
    assert parts.memory_s[0] == pytest.approx((7 + fit.numbers["last"]) * part * crowd)


@pytest.mark.parametrize(("kind", "dtype", "key"), [
    ("all_gather", "int8", ("all_gather", "any")),
    ("broadcast", "float32", ("all_gather", "any")),
    ("reduce", "bfloat16", ("reduce_scatter", "float16")),
    ("all_reduce", "int8", ("all_reduce", "int8")),
    ("send_recv", "float32", ("all_to_all", "any")),
])  # fmt: skip
def test_kinds_share_numbers_where_they_use_the_wires_alike(kind, dtype, key):
    assert fit_key(kind, dtype) == key


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="no collective 'all_reduced'; it has all_gather"):
        nccl("h100_sxm").parts_s("all_reduced", np.ones(1), 2)


@pytest.mark.parametrize(("ranks", "nbytes", "message"), [
    (1, 8.0, "at least 2 ranks; got 1"),
    (2, -1.0, "-1 bytes; bytes must be finite, at least 0"),
    (2, np.nan, "bytes must be finite"),
])  # fmt: skip
def test_groups_and_bytes_that_are_none_are_refused(ranks, nbytes, message):
    with pytest.raises(InputError, match=message):
        nccl("h100_sxm").parts_s("all_reduce", np.array([nbytes]), ranks)


def test_a_group_on_several_nodes_is_bound_by_their_cards():
    spread = Spread(nodes=2, nic_bytes_per_s=25e9, fabric=find_fabric("infiniband"))
    inside = time_s("h100_sxm", "all_reduce", 2.0**32, 8)[0]
    fixed_s, bulk_s = nccl("h100_sxm").parts_s("all_reduce", np.array([2.0**32]), 16,
                                               spread=spread)  # fmt: skip
    assert fixed_s[0] + bulk_s[0] > 2.0**32 / 25e9 > inside


def test_a_message_goes_to_one_rank_however_many_there_are():
    two, eight = (time_s("h100_sxm", "send_recv", SIZES, ranks) for ranks in (2, 8))
    assert two.tolist() == eight.tolist()


@pytest.mark.parametrize("kind", ["broadcast", "reduce", "send_recv"])
def test_kinds_with_borrowed_numbers_stay_below_what_the_wires_protocol_leaves(kind):
    h100 = find_spec("h100_sxm").known("link.scaleup_bytes_per_s")
    assert 0.5 * h100 < 2.0**33 / time_s("h100_sxm", kind, 2.0**33, 2)[0] < 0.9 * h100


def test_no_bytes_cost_the_latency():
    assert 0 < time_s("h100_sxm", "all_reduce", 0.0, 8)[0] < 1e-4


@pytest.mark.parametrize(("device", "expected"), [
    ("h200_sxm", ["nvidia-h100-sxm-80gb"]),  # of its architecture
    ("v100", ["nvidia-a100-sxm-80gb", "nvidia-h100-sxm-80gb"]),  # linked alike
    ("h100_pcie", ["nvidia-rtx-pro-6000-blackwell-server"]),  # linked alike before architecture
])  # fmt: skip
def test_relatives_are_of_the_architecture_else_linked_alike(device, expected):
    stored = [find_spec(name) for name in ("a100_sxm", "h100_sxm", "rtx_pro_6000_server")]
    assert [one.name for one in relatives(find_spec(device), stored)] == expected


def test_where_nothing_is_linked_alike_all_are_relatives():
    stored = [find_spec(name) for name in ("a100_sxm", "h100_sxm")]
    assert relatives(find_spec("l40s"), stored) == stored


def test_the_middle_is_that_of_logarithms_and_has_the_widest_interval():
    one = FamilyFit(numbers={"launch_s": 1e-6, "last": 1.0}, correction=(0.0, 0.2),
                    error_ratio=(0.9, 1.2), device="a")  # fmt: skip
    other = FamilyFit(numbers={"launch_s": 4e-6}, correction=(0.2, 0.0), error_ratio=(0.8, 1.1),
                      device="b")  # fmt: skip
    found = middle([one, other])
    assert found.numbers == pytest.approx({"launch_s": 2e-6, "last": 1.0})
    assert found.correction == pytest.approx((0.1, 0.1))
    assert (found.error_ratio, found.device) == ((0.8, 1.2), "a, b")
    assert middle([one]) is one


def test_a_sibling_is_taken_as_it_is_but_with_a_wider_interval():
    own, taken = (nccl(name).fit("all_reduce") for name in ("h100_sxm", "h200_sxm"))
    assert taken.numbers == own.numbers
    assert taken.error_ratio[0] < own.error_ratio[0] < own.error_ratio[1] < taken.error_ratio[1]


def test_latencies_of_another_architecture_go_with_the_clock_and_shares_stay():
    a100, h100 = find_spec("a100_sxm"), find_spec("h100_sxm")
    fit = nccl("h100_sxm").fit("all_gather")
    taken = lent(fit, h100, a100)
    clocks = h100.known("clock.boost_hz") / a100.known("clock.boost_hz")
    assert taken.numbers["launch_s"] == pytest.approx(fit.numbers["launch_s"] * clocks)
    assert taken.numbers["simple_share"] == fit.numbers["simple_share"]


def test_the_way_over_the_host_has_longer_steps_and_is_shared_by_the_group():
    own, host = (wires_of(find_spec(name)) for name in ("h100_sxm", "l40s"))
    fit = nccl("h100_sxm").fit("all_gather")
    moved = converted(fit, own, host)
    assert moved.numbers["ll_step_s"] == pytest.approx(fit.numbers["ll_step_s"] / 0.6)
    assert moved.numbers["group_power"] == 0.5
    assert moved.correction == ()


def test_the_users_own_fits_go_first(tmp_path):
    spec = find_spec("h100_sxm")
    fit = FamilyFit(numbers=family("all_gather", wires_of(spec)).start, data="mine", device="x")
    write_family_fit(fits_file(SetKey(spec.name, "all_gather", "any"), tmp_path), fit)
    own = Nccl(spec=spec, find=find_spec, folders=(tmp_path, PACKAGED))
    assert own.fit("all_gather").data == "mine"
    assert own.fit("all_reduce").data != "mine"


def test_a_fit_that_lacks_a_number_names_its_file_and_the_number(tmp_path):
    spec = find_spec("h100_sxm")
    numbers = dict(family("all_gather", wires_of(spec)).start)
    del numbers["ll_step_s"]
    path = fits_file(SetKey(spec.name, "all_gather", "any"), tmp_path)
    write_family_fit(path, FamilyFit(numbers=numbers, data="mine", device="x"))
    own = Nccl(spec=spec, find=find_spec, folders=(tmp_path, PACKAGED))
    with pytest.raises(FileError, match=r"all_gather.any.toml: lacks ll_step_s: .*calibrate again"):
        own.fit("all_gather")


def test_without_any_fit_the_forms_first_numbers_stand(tmp_path):
    bare = Nccl(spec=find_spec("h100_sxm"), find=find_spec, folders=(tmp_path,))
    assert bare.fit("all_gather").data == "assumed"
