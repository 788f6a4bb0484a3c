"""No proxy stands before loopback or private addresses; what the user excepted stays excepted."""

from __future__ import annotations

import urllib.request

import pytest

from edit_eval.driver.huggingface import settle_environment
from edit_eval.worker.proxies import bypass_proxies

LOOPBACK = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({}, LOOPBACK),
        ({"NO_PROXY": "a.b"}, f"a.b,{LOOPBACK}"),
        ({"no_proxy": " a.b , c "}, f"a.b,c,{LOOPBACK}"),
        ({"no_proxy": "lower", "NO_PROXY": "upper"}, f"lower,{LOOPBACK}"),
        ({"NO_PROXY": "127.0.0.1,x"}, "127.0.0.1,x,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_loopback(given, value):
    assert bypass_proxies(given) == {"NO_PROXY": value, "no_proxy": value}


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("http://10.1.2.3:8080/x", "10.1.2.3"),
        ("192.168.0.9:8000", "192.168.0.9"),
        ("http://[fd00::1]:80", "fd00::1"),
        ("https://huggingface.co", None),
        ("http://8.8.8.8", None),
        ("", None),
    ],
)
def test_private_addresses(address, named):
    value = bypass_proxies({}, [address])["NO_PROXY"]
    assert value == LOOPBACK + (f",{named}" if named else "")


def test_what_a_fetch_sets_before_the_hubs_library_is_imported(monkeypatch):
    environ = {"HF_ENDPOINT": "http://10.0.0.5", "HF_HUB_DISABLE_TELEMETRY": "0", "NO_PROXY": "x"}
    settle_environment(environ)
    assert environ["HF_HUB_DISABLE_TELEMETRY"] == environ["DO_NOT_TRACK"] == "1"
    assert environ["NO_PROXY"] == f"x,{LOOPBACK},10.0.0.5"
    monkeypatch.setenv("no_proxy", environ["no_proxy"])
    assert urllib.request.proxy_bypass_environment("localhost")
    assert not urllib.request.proxy_bypass_environment("huggingface.co")
