"""No proxy stands before this machine and its neighbours; everything else may have one."""

from __future__ import annotations

import ipaddress
import socket
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.worker.proxies import (
    bypass_proxies,
    is_proxy_variable,
    own_names,
    proxy_for,
    without_proxies,
)

DEAD = "http://127.0.0.1:9"
NAMES = st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,2}", fullmatch=True)


def test_what_a_user_excepts_stays_and_comes_first():
    said = bypass_proxies({"no_proxy": "a.example, b.example", "NO_PROXY": "b.example,c.example,"})
    assert said["no_proxy"] == said["NO_PROXY"]
    entries = said["no_proxy"].split(",")
    assert entries[:3] == ["a.example", "b.example", "c.example"]
    assert {"localhost", "127.0.0.1", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} < {*entries}
    assert len(entries) == len({*entries})


def test_everything_excepted_stays_so():
    assert bypass_proxies({"no_proxy": "*"}) == {"no_proxy": "*", "NO_PROXY": "*"}


def test_addresses_may_be_urls():
    said = bypass_proxies({}, ["http://10.1.2.3:8000/v1", "node7", "https://judge.example"])
    assert said["no_proxy"].endswith(",10.1.2.3,node7,judge.example")


@given(st.lists(NAMES))
def test_twice_is_once(given_names):
    once = bypass_proxies({"no_proxy": ",".join(given_names)})
    assert bypass_proxies(once) == once


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy", "ftp_proxy", "grpc_proxy"])
def test_what_names_a_proxy(name):
    assert is_proxy_variable(name)
    assert without_proxies({name: "x", "no_proxy": "y", "No_Proxy": "z", "PATH": "p"}) == {"PATH": "p"}


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY", "PROXY", "http_proxy_note", "PATH"])
def test_what_names_none(name):
    assert not is_proxy_variable(name)


ENVIRON = {
    "http_proxy": "http://web:3128",
    "HTTPS_PROXY": "http://secure:3128",
    "no_proxy": "corp.example,.inner.example,8.8.0.0/16,*.star.example,only.example:8443,[2001:db8::]/32",
}


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "http://127.0.0.1:8000/v1",
        "http://127.9.9.9",
        "http://[::1]:8000",
        "http://[::ffff:127.0.0.1]:8000",
        "http://10.0.3.7:8000",
        "https://172.16.0.1",
        "https://172.31.255.254",
        "https://192.168.1.1",
        "http://169.254.169.254/latest",
        "http://[fd00::1]",
        "http://[fe80::1%25eth0]:80",
        "http://gpu-node-3:8000",
        "http://judge.localhost",
        "http://printer.local",
        "https://corp.example",
        "https://deep.corp.example",
        "https://a.inner.example",
        "https://8.8.4.4",
        "https://x.star.example",
        "https://only.example:8443",
        "https://[2001:db8::7]",
        "ftp://files.example",
    ],
)
def test_reached_directly(url):
    assert proxy_for(url, ENVIRON) is None


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://example.com", "http://web:3128"),
        ("https://api.example.com/v1", "http://secure:3128"),
        ("https://notcorp.example", "http://secure:3128"),
        ("https://8.9.0.1", "http://secure:3128"),
        ("https://172.32.0.1", "http://secure:3128"),
        ("https://only.example", "http://secure:3128"),
        ("https://localhost.example.com", "http://secure:3128"),
    ],
)
def test_reached_through_a_proxy(url, proxy):
    assert proxy_for(url, ENVIRON) == proxy


def test_the_proxy_for_all_comes_last_and_lower_case_first():
    environ = {"ALL_PROXY": "all", "all_proxy": "lower", "https_proxy": ""}
    assert proxy_for("https://example.com", environ) == "lower"
    assert proxy_for("https://example.com", environ | {"HTTPS_PROXY": "own"}) == "own"
    assert proxy_for("https://example.com", environ | {"NO_PROXY": "a, *"}) is None
    assert proxy_for("https://example.com", {}) is None


@given(
    st.ip_addresses(network="10.0.0.0/8")
    | st.ip_addresses(network="192.168.0.0/16")
    | st.ip_addresses(network="127.0.0.0/8")
    | st.ip_addresses(network="fc00::/7")
)
def test_no_private_address_has_a_proxy(address):
    host = f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)
    assert proxy_for(f"http://{host}:8000/v1", {"http_proxy": DEAD, "all_proxy": DEAD}) is None


@pytest.mark.parametrize("url", ["", "example.com", "http://", "//host/path"])
def test_what_is_no_url(url):
    with pytest.raises(ValueError, match="no URL"):
        proxy_for(url, {})


def test_this_machine_knows_its_name_and_addresses():
    names = own_names()
    assert names[0] == socket.gethostname()
    assert "127.0.0.1" in names
    for name in names[1:]:
        ipaddress.IPv4Address(name)


def test_a_kernel_that_tells_nothing(tmp_path):
    assert own_names(tmp_path) == [socket.gethostname()]


def test_pythons_own_client_obeys(monkeypatch):
    for name, value in bypass_proxies({"no_proxy": "corp.example"}, own_names()).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("http_proxy", DEAD)
    assert all(map(urllib.request.proxy_bypass, ["localhost", "127.0.0.1", "corp.example", *own_names()]))
    assert not urllib.request.proxy_bypass("example.com")


def test_no_entry_stops_httpx():
    """httpx, from 0.24 to 0.28 at least, does not start where `no_proxy` has an IPv6 range or brackets."""
    for entry in bypass_proxies({})["no_proxy"].split(","):
        assert not (":" in entry and ("/" in entry or "[" in entry))
