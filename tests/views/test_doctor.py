"""The doctor's lines: 80 columns, each mend below its finding, colour on a terminal only."""

from __future__ import annotations

import io

from rich.cells import cell_len

from edit_eval.driver.findings import Finding
from edit_eval.views.doctor import closing_line, finding_lines, show_findings

FINDINGS = [
    Finding("ok", "CPU", "2 cores"),
    Finding(
        "warn", "editor Conv3d", "2,778 times slower than it should be: " + "word " * 30, "use another build"
    ),
    Finding(
        "bad", "editor.components.transformer", "图像 " * 40 + "/a/very/long/path" * 12, "put it there " * 9
    ),
    Finding("bad", "x", "evil \x1b[31m\n text", "mend \x07 it"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_every_line_fits_and_every_mend_is_there():
    for finding in FINDINGS:
        lines = finding_lines(finding)
        assert max(map(cell_len, lines)) <= 80
        assert lines[0].split()[0] == finding.level
        if finding.mend:
            assert sum(line.strip().startswith("mend: ") for line in lines) == 1
        else:
            assert len(lines) == 1


def test_lines_are_aligned():
    assert finding_lines(FINDINGS[0]) == ["ok   CPU               2 cores"]
    assert all(line.startswith(" " * 23) for line in finding_lines(FINDINGS[1])[1:])


def test_piped_it_holds_no_control_character():
    stream = io.StringIO()
    assert show_findings(iter(FINDINGS), stream) == FINDINGS
    assert all(char.isprintable() or char == "\n" for char in stream.getvalue())


def test_on_a_terminal_levels_have_colours_unless_unwanted(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    show_findings(FINDINGS[:1], stream)
    assert stream.getvalue().startswith("\x1b[32mok\x1b[0m   CPU")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    show_findings(FINDINGS[:1], stream)
    assert stream.getvalue().startswith("ok   CPU")


def test_the_last_line_says_whether_a_run_would_fail():
    assert closing_line(FINDINGS[:1]) == "All is well."
    assert closing_line(FINDINGS[:2]) == "All is well, 1 warning."
    assert closing_line(FINDINGS) == "2 bad, 1 warning: a run would fail; mend them first."
    assert closing_line(FINDINGS[3:]) == "1 bad: a run would fail; mend it first."
