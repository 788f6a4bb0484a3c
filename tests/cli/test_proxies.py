"""A proxy that answers nothing stands in the environment, and hosts reach a server on this machine all the same."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path

import pytest
from harness import cli, make_benchmark

DEAD = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD)
CONFIG = """benchmark: {{type: folder, path: {benchmark}}}
editor: {{type: 'surveyor:Surveyor', devices: [cpu:0], env: {env}}}
output: run
"""


class Answer(http.server.BaseHTTPRequestHandler):
    """Says `here` to everybody."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_args):
        """Say nothing."""


@pytest.fixture
def server():
    """Return the URL of a server on loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def config(folder: Path, instruction: str, env: str = "{}") -> str:
    benchmark = make_benchmark(folder / "data", [instruction])
    (folder / "c.yaml").write_text(CONFIG.format(benchmark=benchmark, env=env))
    return "c.yaml"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_host_reaches_a_server_on_this_machine(tmp_path, server, name):
    url = server.replace("127.0.0.1", name)
    done = cli("run", config(tmp_path, f"get:{url}"), cwd=tmp_path, env=PROXIES | {"no_proxy": ""})
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_proxy_of_the_stage_does_not_stand_there_either(tmp_path, server):
    env = f"{{http_proxy: '{DEAD}', no_proxy: corp.example}}"
    found = tmp_path / "env.json"
    done = cli("run", config(tmp_path, f"get:{server} + env:{found}", env), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(found.read_text())["no_proxy"].startswith("corp.example,localhost,")


def test_other_addresses_keep_their_proxy(tmp_path):
    found = tmp_path / "env.json"
    done = cli("run", config(tmp_path, f"env:{found}"), cwd=tmp_path, env=PROXIES)
    assert done.returncode == 0, done.stderr
    env = json.loads(found.read_text())
    assert {name: env[name] for name in PROXIES} == PROXIES


def test_proxy_none_takes_them_away_but_for_a_stage_that_names_one(tmp_path):
    found = tmp_path / "env.json"
    benchmark = config(tmp_path, f"env:{found}", "{https_proxy: 'http://mine:1'}")
    done = cli("run", benchmark, "--set", "proxy=none", cwd=tmp_path, env=PROXIES | {"no_proxy": "x"})
    assert done.returncode == 0, done.stderr
    env = json.loads(found.read_text())
    assert {name: value for name, value in env.items() if name.lower().endswith("_proxy")}.keys() == {
        "https_proxy",
        "no_proxy",
        "NO_PROXY",
    }
    assert env["https_proxy"] == "http://mine:1"


def test_without_a_proxy_nothing_is_added(tmp_path):
    found = tmp_path / "env.json"
    clean = dict.fromkeys([*PROXIES, "no_proxy", "NO_PROXY"], "")
    done = cli("run", config(tmp_path, f"env:{found}"), cwd=tmp_path, env=clean)
    assert done.returncode == 0, done.stderr
    env = json.loads(found.read_text())
    assert {env[name] for name in clean} == {""}


def test_a_word_that_proxy_does_not_know(tmp_path):
    done = cli("run", config(tmp_path, "ok"), "--set", "proxy=off", cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "proxy" in line
    assert "'environment' or 'none'" in line
