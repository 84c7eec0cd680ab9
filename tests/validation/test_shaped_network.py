"""Rates are read as tc writes them; what is missing for a shaped network is named."""

import pytest

from simulator.errors import InputError
from validation import shaped_network
from validation.shaped_network import address_of, find_isolation, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1gbit", 1e9), ("100Mbit", 1e8), ("2.5 Gbit/s", 2.5e9), ("125 MB/s", 1e9), ("8kbit", 8e3)],
)
def test_a_rate_is_read_as_tc_writes_it_or_as_a_quantity(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "1", "fast", "0gbit", "1 GB", "1gbit/h", "nan"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(InputError, match="rate"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["-1gbit", "0 GB/s", "1bit", "1e300gbit", "1e300 GB/s"])
def test_a_rate_that_no_link_has_is_refused(text):
    with pytest.raises(InputError, match=f"from 8 bit to 1000 tbit a second; got '{text}'"):
        parse_rate(text)


def test_each_rank_has_an_address_of_its_own():
    addresses = [address_of(rank) for rank in range(1000)]
    assert len(set(addresses)) == 1000
    assert not any(address.endswith((".0", ".255")) for address in addresses[:254])


@pytest.mark.parametrize(
    ("tool", "package"), [("tc", "iproute2"), ("ip", "iproute2"), ("unshare", "util-linux")]
)
def test_a_missing_tool_is_named_with_the_package_that_has_it(monkeypatch, tool, package):
    monkeypatch.setattr("shutil.which", lambda name, path: None if name == tool else name)
    found = find_isolation()
    assert (found.name, found.shaped) == ("loopback", False)
    assert f"{tool} not found; install {package}" in found.why


def test_a_system_that_refuses_is_quoted_and_what_would_allow_it_said(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, path: name)
    monkeypatch.setattr(shaped_network, "_refusal", lambda prefix: "Operation not permitted")
    found = find_isolation()
    assert not found.shaped
    assert "Operation not permitted" in found.why
    assert "kernel.unprivileged_userns_clone=1" in found.why


def test_a_user_namespace_is_preferred_and_root_comes_next(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, path: name)
    monkeypatch.setattr(shaped_network, "_refusal", lambda prefix: "")
    assert find_isolation().name == "user namespace"
    monkeypatch.setattr(shaped_network, "_refusal", lambda prefix: "no" * ("--user" in prefix))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert find_isolation().name == "namespace"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert find_isolation().name == "loopback"


def test_what_ip_refuses_is_quoted(monkeypatch):
    class Refused:
        returncode, stderr = 1, "RTNETLINK answers: Operation not permitted"

    monkeypatch.setattr("subprocess.run", lambda *words, **options: Refused)
    with pytest.raises(InputError, match="ip refuses: RTNETLINK answers"):
        shaped_network.build_bridge()
