"""Any parameters that a plan accepts keep the contract of plans, disturbed or not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.check_plan import check_plan
from workloads.plans import find_plan

ONE_BY_ONE = st.fixed_dictionaries({
    "mode": st.sampled_from(["asynchronous", "stale-synchronous"]),
    "servers": st.integers(1, 3), "colocated": st.booleans(),
})  # fmt: skip
IN_STEP = st.fixed_dictionaries({
    "servers": st.integers(1, 3), "colocated": st.booleans(), "backup": st.integers(0, 3),
})  # fmt: skip
FEDERATED = st.fixed_dictionaries({
    "wanted": st.integers(1, 5), "over_selection": st.floats(1, 4),
    "local_steps": st.integers(1, 3), "dropout": st.floats(0, 1), "edges": st.integers(0, 3),
    "device_spread": st.floats(0, 2), "secure_bytes": st.sampled_from([0.0, 1e4]),
    "deadline_s": st.sampled_from([None, 1e-6, 0.05, 0.3]),
    "link_bytes_per_s": st.sampled_from([None, 1e8]),
})  # fmt: skip
PLANS = st.one_of(
    st.tuples(st.just("parameter-server"), ONE_BY_ONE | IN_STEP),
    st.tuples(st.just("federated"), FEDERATED),
)
DISTURBANCES = st.fixed_dictionaries({}, optional={
    "delay": st.floats(0, 2), "slow_ranks": st.integers(0, 2),
    "mtbf_s": st.sampled_from([100.0, 1000.0]), "checkpoint_every_s": st.sampled_from([None, 0.05]),
})  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(PLANS, DISTURBANCES, st.integers(2, 12))
def test_no_plan_deadlocks_races_or_loses_messages(plan, disturbances, devices):
    name, parameters = plan
    verdict = check_plan(find_plan(name, **parameters, **disturbances), devices)
    assert not verdict.broken, verdict.why
