"""The real command line on a real pseudo-terminal, looked at through a terminal emulator."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from harness import cli, config_tree, make_benchmark

from views.emulator import Glass, OnTerminal, edit_eval

DEMO = Path(__file__).parents[2] / "src/edit_eval/cli/demo.yaml"
BAR = re.compile(r"\[CPU (\d)\] Denoising: +\d+%\|.*\| *\d+/40( |$)")
SYNC = re.compile(r"\[SYNC\] (Editing images|Scoring): +(\d+)%\|.*\| *\d+/\d+( |$)")


def demo(*settings: str, n: int = 4) -> list[str]:
    chosen = {"editor.type": "scripted", "editor.params.seconds": "1.2", "editor.params.steps": "40"}
    chosen["judge.params.seconds"] = "0.3"
    pairs = [f"{key}={value}" for key, value in {**chosen, "benchmark.params.n": str(n)}.items()]
    sets = [part for pair in [*pairs, *settings] for part in ("--set", pair)]
    return edit_eval("run", str(DEMO), "--output", "run", *sets)


def denoising(glass: Glass) -> list[str]:
    """Return which devices have a bar, from the top."""
    return [match[1] for row in glass.rows if (match := BAR.match(row))]


def both_denoise(glass: Glass) -> bool:
    return denoising(glass) == ["0", "1"]


def check_picture(glass: Glass) -> None:
    """A line for each device, the stages and the scores, in this order at the bottom, once, and the cursor below."""
    rows = glass.rows
    live = [row for row in rows if row.startswith(("[CPU", "[SYNC]", "Score "))]
    assert live == rows[-5:], rows
    assert [row[:7] for row in live[:2]] == ["[CPU 0]", "[CPU 1]"]
    assert SYNC.match(live[2])
    assert SYNC.match(live[3])
    assert live[4].startswith("Score ")
    assert glass.cursor_hidden
    assert (glass.cursor.x, glass.cursor.y) == (0, len(rows))


def check_end(terminal: OnTerminal) -> None:
    """The totals and the result stay, no line of a device does, and the cursor is back."""
    glass, said = terminal.glass, terminal.glass.everything
    assert not glass.cursor_hidden
    assert glass.wraps
    assert not [row for row in said if re.match(r"\[CPU \d\] (?!Restarting)", row)]
    assert said[-1] == "Report: run/report/index.html"
    assert len([row for row in said if SYNC.match(row) and "100%" in row]) == 2
    assert not [row for row in said if SYNC.match(row) and "100%" not in row]
    assert b"\x07" not in terminal.raw


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (60, 20)])
def test_a_whole_run(tmp_path: Path, columns: int, rows: int) -> None:
    with OnTerminal(demo(), cwd=tmp_path, columns=columns, rows=rows) as terminal:
        terminal.wait_for(both_denoise, "both devices denoise, each with its bar")
        check_picture(terminal.glass)
        full = re.compile(r"\[\d\d:\d\d<\d\d:\d\d, \d+\.\d it/s\]")
        terminal.wait_for(
            lambda glass: (
                any(full.search(row) for row in glass.rows) == (columns >= 80)
                and any(re.search(r"\[\d\d:\d\d<\d\d:\d\d", row) for row in glass.rows if "Denoising" in row)
            ),
            "speed and time left, as far as there is room",
        )
        terminal.wait_for(
            lambda glass: any(re.match(r"\[CPU \d\] Judging", row) for row in glass.rows), "a judge at work"
        )
        assert terminal.finish() == 0
        check_end(terminal)
        said = terminal.glass.everything
        assert [row[:14] for row in said if row.startswith("  [Sample ")] != []
        scored = [row for row in said if re.match(r"  \[Sample +\d+\] Score: \d+\.\d\d \| Response: ", row)]
        assert len(scored) == 4
        assert any(re.match(r"Score \d+\.\d{3} ± \d+\.\d{3} \(n = 4\), unscored 0$", row) for row in said)


@pytest.mark.parametrize("on_resize", ["cut", "wrap"])
def test_a_window_that_is_resized(tmp_path: Path, on_resize) -> None:
    with OnTerminal(demo(n=4), cwd=tmp_path, on_resize=on_resize) as terminal:
        terminal.wait_for(both_denoise, "both devices denoise")
        for columns, rows in [(60, 20), (100, 30), (40, 12)]:
            before = len(terminal.raw)
            terminal.resize(columns, rows)
            terminal.wait_for(
                lambda glass, before=before: (
                    len(terminal.raw) > before
                    and len(glass.rows[-1]) <= glass.columns
                    and glass.rows[-1].startswith("Score ")
                    and any(
                        SYNC.match(row) and abs(len(row) - min(78, glass.columns - 1)) <= 1
                        for row in glass.rows
                    )
                ),
                f"a picture that fills {columns} columns",
            )
            check_picture(terminal.glass)
        assert terminal.finish() == 0
        check_end(terminal)


def test_a_host_that_died(tmp_path: Path) -> None:
    what = ["sleep:1", "once:crash", "sleep:1", "sleep:1"]
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", what))
    (tmp_path / "c.yaml").write_text(json.dumps(tree))
    with OnTerminal(edit_eval("run", "c.yaml", "--output", "run"), cwd=tmp_path) as terminal:
        why = "Restarting the editor [00:00]: killed by SIGKILL"
        terminal.wait_for(
            lambda glass: any(why in row for row in glass.rows[-5:]),
            "the device's line says that it restarts, and why",
        )
        check_picture_of_a_death(terminal.glass)
        terminal.wait_for(
            lambda glass: (
                not any("] Restarting the editor [" in row for row in glass.rows)
                and any("[SYNC]" in row for row in glass.rows)
            ),
            "it works again",
        )
        assert terminal.finish() == 0
        check_end(terminal)
        lost = [row for row in terminal.glass.everything if "Restarting the editor: killed by SIGKILL" in row]
        assert len(lost) == 1


def check_picture_of_a_death(glass: Glass) -> None:
    rows = glass.rows
    restarting = [row for row in rows if "] Restarting the editor [" in row]
    assert len(restarting) == 1
    assert restarting[0].endswith("kernel…"), "cut to the window"
    permanent = [row for row in rows if re.match(r"\[CPU \d\] Restarting the editor: killed", row)]
    assert len(permanent) == 1
    assert rows.index(permanent[0]) < rows.index(restarting[0])
    assert rows[-1].startswith("Score ")


def test_an_interrupt_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with OnTerminal(demo(n=40), cwd=tmp_path) as terminal:
        terminal.wait_for(both_denoise, "both devices denoise")
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 130
        assert not terminal.glass.cursor_hidden
        assert terminal.glass.wraps
        assert not denoising(terminal.glass)
        assert terminal.glass.rows[-1].endswith("there"), "how to go on"


# What is piped


@pytest.mark.parametrize("display", ["rich", None])
def test_piped_output_holds_no_escape_byte(tmp_path: Path, display: str | None) -> None:
    table = make_benchmark(tmp_path / "data", ["ok", "once:exit", "raise"])
    (tmp_path / "c.yaml").write_text(json.dumps(config_tree(tmp_path, table)))
    chosen = ["--display", display] if display else []
    # COLORTERM, FORCE_COLOR and a terminal's name make some libraries colour even a pipe.
    env = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    done = cli("run", "c.yaml", *chosen, cwd=tmp_path, env=env)
    assert done.returncode == 3, done.stderr
    for said in (done.stdout, done.stderr):
        assert not [one for one in said if ord(one) < 0x20 and one != "\n"]
    assert "[SYNC] Editing images: 100%" in done.stdout
    assert "Restarting the editor: ended with exit code 0" in done.stdout
