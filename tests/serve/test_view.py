"""`edit-eval view`: what it serves and what it refuses, the page made again as the run goes on, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin

import pytest
from harness import PYTHONPATH, Ran, config_tree, make_benchmark

from edit_eval.cli import _parser
from edit_eval.core.errors import RunError, UserError
from edit_eval.serve import page as live_pages
from edit_eval.serve.page import LivePage
from edit_eval.serve.shown import read_shown
from edit_eval.serve.view import image_type, led_here, open_server

AGES = 100.0


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return the directory of a run that is done, all its files an hour old, and its page a little younger."""
    folder = tmp_path_factory.mktemp("viewed")
    table = make_benchmark(folder / "data", ["one", "two", "raise:no"])
    ran = Ran(config_tree(folder, table))
    read_shown(ran.run.path).write_page()
    age(ran.run.path, 3600)
    os.utime(ran.run.path / "report" / "index.html", (time.time() - 3500,) * 2)
    (ran.run.path / "report" / ".index-page.1.html").write_text("half")
    (ran.run.path / "report" / "out").symlink_to("/etc")
    (ran.run.path / "images" / "out.png").symlink_to("/etc/passwd")
    return ran.run.path


def age(run: Path, seconds: float) -> None:
    for name in ("run.json", "samples.jsonl", "edits.jsonl", "verdicts.jsonl", "telemetry.jsonl"):
        os.utime(run / name, (time.time() - seconds,) * 2)


@pytest.fixture
def served(done):
    """Return what asks the server: path and headers to status, headers and body."""
    server = open_server(done)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()

    def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        host = headers.pop("Host", f"127.0.0.1:{server.server_port}")
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host, **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.headers), body

    ask.server = server
    yield ask
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_listens_on_loopback_alone(served):
    assert served.server.socket.getsockname()[0] == "127.0.0.1"
    assert served.server.address == f"http://127.0.0.1:{served.server.server_port}/"


def test_the_page_and_every_picture_that_it_names_are_served(served, done):
    status, headers, _ = served("/")
    assert (status, headers["Location"]) == (302, "/report/index.html")
    status, headers, body = served("/report/index.html")
    text = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "file://" not in text
    links = set(re.findall(r'(?:src|href)="([^"#]+)"', text))
    assert len(links) >= 6
    for link in links:
        status, headers, body = served(urljoin("/report/index.html", link))
        assert (status, link) == (200, link)
        assert headers["Content-Type"] in ("image/png", "image/webp")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert int(headers["Content-Length"]) == len(body) > 0
    status, headers, body = served("/report/index.html", "HEAD")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/run.json",
        "/logs/",
        "/edits.jsonl",
        "/report",
        "/report/",
        "/report/nothing.html",
        "/report/../run.json",
        "/report/%2e%2e/run.json",
        "/report/..%2frun.json",
        "/report//etc/passwd",
        "/report/.index-page.1.html",
        "/report/out/passwd",
        "/images/out.png",
        "/images/%00",
        "//images/x",
        "/file/etc/passwd",
        "/file//etc/passwd",
        "/file/RUN/run.json",
        "/file/DATA/../run/run.json",
        "/%ff%fe",
        "/report/" + "x" * 5000,
    ],
)
def test_nothing_else_is(served, done, path):
    real = path.replace("RUN", str(done)).replace("DATA", str(done.parent / "data"))
    status, _, body = served(real)
    assert status == 404
    assert b"root:" not in body


def test_links_that_leave_what_is_served_lead_to_files():
    page = (
        b'<a href="file:///d/a%20b%23.png"><img src="../../data/%C3%A9.png"><img src="../inputs/x.png"><p>"../y"'
        b'<img src="../images/ab/c.png"><img src="thumbs/ab/c.webp"><a href="#x">&#34;file:///z&#34;'
    )
    assert led_here(page, "/runs/a/report") == (
        b'<a href="../file/d/a%20b%23.png"><img src="../file/runs/data/%C3%A9.png">'
        b'<img src="../file/runs/a/inputs/x.png"><p>"../y"'
        b'<img src="../images/ab/c.png"><img src="thumbs/ab/c.webp"><a href="#x">&#34;file:///z&#34;'
    )


def test_a_file_that_the_page_names_is_served_only_as_an_image(served, done, monkeypatch):
    source = done.parent / "data" / "0000.png"
    monkeypatch.setattr(LivePage, "shows", lambda _self, file: file in {str(source), "/etc/passwd", "/etc"})
    assert served(f"/file{source}")[0] == 200
    assert served("/file/etc/passwd")[0] == 404
    assert served("/file/etc")[0] == 404


def test_another_name_for_this_machine_is_refused(served):
    port = served.server.server_port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"[::1]:{port}", ""):
        assert served("/report/index.html", Host=host)[0] == 403
    assert served("/report/index.html", Host=f"localhost:{port}")[0] == 200


def test_other_pages_may_lead_here_and_not_embed_what_is_here(served):
    assert served("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 302
    assert served("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert served("/", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="no-cors")[0] == 302
    assert served("/")[1]["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_only_answers(served, method):
    assert served("/report/index.html", method)[0] == 501


def test_a_picture_is_not_sent_twice(served, done):
    image = next((done / "images").glob("*/*.png")).relative_to(done)
    status, headers, body = served(f"/{image}")
    assert (status, body) == (200, (done / image).read_bytes())
    again = served(f"/{image}", If_None_Match=headers["ETag"])
    assert (again[0], again[2]) == (304, b"")


def test_a_run_that_has_ended_is_left_as_it_is(served, done):
    before = (done / "report" / "index.html").stat()
    _, headers, body = served("/report/index.html?refresh=1")
    assert "Refresh" not in headers
    assert b"<iframe" not in body
    assert (done / "report" / "index.html").stat() == before
    _, headers, body = served("/status?edits=1&verdicts=x")
    assert "Refresh" not in headers
    assert b"The run has ended" in body


def test_while_a_run_goes_on_the_page_says_what_is_new(served, done):
    (done / "telemetry.jsonl").touch()
    now = served.server.live.progress()
    assert now.edits > 2
    assert now.verdicts > 1
    try:
        _, headers, body = served("/report/index.html")
        assert f'<iframe src="../status?edits={now.edits}&amp;verdicts={now.verdicts}"'.encode() in body
        assert b"default-src 'none'; frame-src 'self'; style-src" in body
        assert "Refresh" not in headers
        assert served("/report/index.html?refresh=1")[1]["Refresh"] == "30"
        _, headers, body = served(f"/status?edits={now.edits - 2}&verdicts={now.verdicts - 1}")
        assert headers["Refresh"] == "5"
        assert b"New since this page: 2 edits and 1 verdict." in body
        assert b"New since" not in served(f"/status?edits={now.edits}&verdicts={now.verdicts}")[2]
    finally:
        age(done, 3600)


def test_a_page_is_made_again_when_the_run_has_more_and_not_too_often(done, monkeypatch):
    now, made = [AGES], []
    whole = SimpleNamespace(rows=[], write_page=lambda: made.append(done))
    monkeypatch.setattr(live_pages, "read_shown", lambda *_run: whole)
    live = LivePage(done, clock=lambda: now[0])
    live.refresh()
    assert not made  # the page is younger than all it is made of
    try:
        (done / "verdicts.jsonl").touch()
        live.refresh()
        live.refresh()
        assert len(made) == 1
        now[0] += 4.5
        live.refresh()
        assert len(made) == 2
    finally:
        age(done, 3600)


def test_a_page_that_cannot_be_made_leaves_the_old_one_and_says_why(served, done, monkeypatch):
    def broken(*_arguments):
        raise RunError("edits.jsonl cannot be read <b>")

    monkeypatch.setattr(live_pages, "read_shown", broken)
    try:
        (done / "edits.jsonl").touch()
        assert served("/report/index.html")[0] == 200
        assert b"edits.jsonl cannot be read &lt;b&gt;" in served("/status")[2]
    finally:
        age(done, 3600)


def test_it_is_active_as_long_as_its_files_change(done):
    now = [AGES]
    live = LivePage(done, clock=lambda: now[0])
    assert not live.is_active()
    (done / "telemetry.jsonl").touch()
    assert live.is_active()
    now[0] += 14
    assert live.is_active()
    now[0] += 2
    assert not live.is_active()
    age(done, 3600)


def test_what_is_an_image():
    assert image_type(b"\x89PNG\r\n\x1a\n....") == "image/png"
    assert image_type(b"RIFF1234WEBPVP8 ") == "image/webp"
    assert image_type(b"\0\0\0\x20ftypavif....") == "image/avif"
    assert image_type(b"<svg xmlns=...>") is None
    assert image_type(b"<html>") is None
    assert image_type(b"") is None


def test_a_port_that_is_taken_and_a_folder_that_is_no_run_are_said_in_one_line(done, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=rf"port {taken.getsockname()[1]} is taken"):
            open_server(done, taken.getsockname()[1])
    with pytest.raises(RunError, match=r"is no run directory"):
        open_server(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_and_without_complaint(done, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "edit_eval", "view", str(done)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            address = process.stdout.readline().split()[1]
            port = int(address.rstrip("/").rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), timeout=5):  # who says nothing holds up no end
                process.send_signal(number)
                out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    assert out.strip() == ""


def test_a_page_can_be_read_while_the_run_writes_it(tmp_path):
    table = make_benchmark(tmp_path / "data", ["sleep:0.2"] * 2)
    (tmp_path / "c.json").write_text(json.dumps(config_tree(tmp_path, table)))
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "edit_eval", "run", "c.json", "--display", "none"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.DEVNULL,
    )
    live, active = None, False
    try:
        while process.poll() is None:
            if live is None and all(
                (run / f).is_file() for f in ("run.json", "samples.jsonl", "edits.jsonl")
            ):
                live = LivePage(run)
            if live is not None:
                live.refresh()
                active = active or live.is_active()
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert active
    assert live is not None
    assert not live.fault


@pytest.mark.parametrize("wrong", ["x", "-1", "65536", "8" * 5000, "٣"])
def test_what_is_no_port_is_refused_in_one_line(wrong, capsys):
    assert _code(["view", "run", f"--port={wrong}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def _code(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        _parser().parse_args(arguments)
    return ended.value.code
