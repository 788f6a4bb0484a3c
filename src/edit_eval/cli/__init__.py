"""The command line: parses, then hands over. Commands live in `commands`, imported only when one is run."""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import NoReturn

from edit_eval import __version__
from edit_eval.core.errors import ConfigError, EditEvalError, Interrupted, UserError, did_you_mean

__all__ = ["EXIT_INTERRUPTED", "EXIT_OK", "EXIT_OUR_FAULT", "EXIT_PARTIAL", "EXIT_USER_ERROR", "main"]

EXIT_OK = 0
EXIT_OUR_FAULT = 1
EXIT_USER_ERROR = 2
EXIT_PARTIAL = 3
EXIT_INTERRUPTED = 130

_DISPLAYS = ("rich", "plain", "json", "none")
_KINDS = ("benchmarks", "editors", "judges", "rubrics", "runs")


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, with the nearest command."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message and (wrong := message.split("'")[1:2]):
            choices = [
                word.strip("' ") for word in message.split("choose from", 1)[-1].strip(" )").split(",")
            ]
            message = f"no such choice: {wrong[0]!r}{did_you_mean(wrong[0], choices) or '; there are ' + ', '.join(choices)}"
        from edit_eval.cli.output import one_line

        self.exit(EXIT_USER_ERROR, f"edit-eval: {one_line(message)}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edit-eval",
        description="Edit a benchmark's images on every device, judge every edit on every device, report scores "
        "with error bars.",
        epilog="exit codes: 0 complete, 2 wrong input or a full disk, 3 below coverage, 1 our fault, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"edit-eval {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    for name, help_text in (
        ("run", "edit, judge and report"),
        ("edit", "edit only; score or run goes on from there"),
    ):
        _add_run_options(_add_config(commands.add_parser(name, help=help_text, description=help_text)))

    _add_score(commands)

    report = commands.add_parser("report", help="show a run's scores and write its HTML page")
    report.add_argument("run", metavar="RUN", help="run directory")
    report.add_argument(
        "--format", choices=("text", "json", "html"), default="text", help="default: text and the page"
    )
    _add_price(report)

    _add_merge(commands)
    _add_compare(commands)
    _add_view(commands)
    _add_export(commands)

    demo = commands.add_parser(
        "demo",
        help="edit drawn scenes with a small diffusion model on two CPU devices, and compare 20 steps with 2",
    )
    _add_run_options(demo)

    _add_doctor(commands)
    _add_lint(commands)
    _add_fetch(commands)

    listing = commands.add_parser("ls", help="list benchmarks, editors, judges, rubrics, or runs")
    listing.add_argument("what", nargs="?", choices=_KINDS, help="default: all but runs")
    listing.add_argument("--runs", metavar="DIR", default="runs", help="where runs are (default: runs)")
    return parser


def _named(value: str) -> str:
    """Refuse an empty value: most likely a shell variable that is not set."""
    if not value.strip():
        raise argparse.ArgumentTypeError("is empty; is a variable of your shell not set?")
    return value


def _add_score(commands: argparse._SubParsersAction[_Parser]) -> None:
    score = commands.add_parser(
        "score",
        help="judge the edits of a run, or an existing folder of edits",
        description="Judge the edits that a run has, or those in a folder (--edits), named by sample id. No edit is made "
        "anew, and no verdict is lost.",
    )
    _add_edits(score, "a folder of finished edits, instead of those of the run")
    score.add_argument(
        "--judge",
        metavar="FILE",
        type=_named,
        help="judge with another judge beside the run's own: a config, its judge section alone, or a run directory",
    )
    score.add_argument(
        "--repeat-fraction",
        metavar="SHARE",
        type=_fraction,
        default=0.0,
        help="judge this share of the edits a second time, always the same ones, and say how sure the judge is (e.g. 0.1)",
    )
    _add_run_options(_add_config(score))


def _add_merge(commands: argparse._SubParsersAction[_Parser]) -> None:
    merge = commands.add_parser(
        "merge",
        help="put the shards of a run together",
        description="Write the run that shards (edit-eval run --shard I/N) are parts of. Shards are only read; merging again "
        "adds what is new.",
    )
    merge.add_argument("shards", metavar="SHARD", nargs="+", help="run directories, or a folder with them")
    merge.add_argument(
        "--output",
        metavar="RUN",
        type=_named,
        help="run directory (default: the one in whose folder 'shards' they lie)",
    )
    merge.add_argument(
        "--partial", action="store_true", help="merge although shards are missing or not finished"
    )


def _add_compare(commands: argparse._SubParsersAction[_Parser]) -> None:
    compare = commands.add_parser(
        "compare",
        help="say which of two runs or more is better, by how much, how certain that is, and where",
        description="Compare runs sample by sample: all others with the first. Only samples that both scored count; what is "
        "not compared is said. Exit code 3 if a run is below its min_coverage.",
    )
    compare.add_argument("runs", metavar="RUN", nargs="+", help="run directories; the first is the base")
    compare.add_argument(
        "--any-protocol",
        action="store_true",
        help="compare also what no common judge or rubric has scored",
    )
    compare.add_argument(
        "--format",
        choices=("text", "json", "html", "csv", "markdown", "latex"),
        default="text",
        help="text and the page (default), the page alone (html), one row a sample (csv), tables (markdown, latex), or all "
        "numbers (json)",
    )
    compare.add_argument(
        "--output",
        metavar="DIR",
        type=_named,
        help="where the page goes (default: compare/BASE--OTHER beside the first run)",
    )


def _add_view(commands: argparse._SubParsersAction[_Parser]) -> None:
    view = commands.add_parser(
        "view",
        help="show a run's page in a browser of this machine, also while it goes on",
        description="Serve the page of RUN on this machine alone (127.0.0.1) until Ctrl-C, made again as the run goes on.",
    )
    view.add_argument("run", metavar="RUN", help="run directory")
    view.add_argument("--port", type=_port, default=0, metavar="N", help="default: any that is free")
    _add_price(view)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


def _add_export(commands: argparse._SubParsersAction[_Parser]) -> None:
    export = commands.add_parser("export", help="write what a run found, for other programs and papers")
    export.add_argument("run", metavar="RUN", help="run directory")
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--format",
        choices=("csv", "json", "parquet", "markdown", "latex"),
        help="one row a sample and repeat (csv, json, parquet), or the tables of scores with their intervals (markdown, latex)",
    )
    what.add_argument(
        "--canonical",
        action="store_true",
        help="one JSON line a sample, sorted by key, with what two equal runs must agree on",
    )
    what.add_argument(
        "--layout", metavar="BENCHMARK", help="the edits, named as that benchmark's own tools expect them"
    )
    export.add_argument(
        "--output",
        metavar="PATH",
        type=_named,
        help="with --format: the file (default: printed); with --layout: the folder (default: RUN/export/BENCHMARK)",
    )


def _add_doctor(commands: argparse._SubParsersAction[_Parser]) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="look whether this machine, or a run of a config, is in order",
        description="Look at this machine, or at everything that a run of CONFIG needs, and say how to mend what is "
        "wrong. Exit code 2 if the run would fail.",
    )
    _add_place_options(_add_config(doctor))
    doctor.add_argument(
        "--deep", action="store_true", help="also import torch, and make one real edit and one verdict"
    )


def _add_lint(commands: argparse._SubParsersAction[_Parser]) -> None:
    lint = commands.add_parser(
        "lint",
        help="look into a folder of finished edits: missing, blank, unchanged, doubled, nobody's",
        description="Look at every edit of a folder (editor type precomputed, or --edits) beside its source, before a judge "
        "does. All samples count, whatever the limit. Exit code 2 if an edit is missing, doubled or unreadable.",
    )
    _add_edits(lint, "the folder, in place of the config's editor")
    _add_set(_add_config(lint))
    lint.set_defaults(output=None, backend=None, devices=None, limit=None)


def _add_edits(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--edits", metavar="DIR", type=_named, help=what)


def _add_fetch(commands: argparse._SubParsersAction[_Parser]) -> None:
    fetch = commands.add_parser(
        "fetch",
        help="bring the models and data that a config names from the hub; needs internet",
        description="Bring every model and data set that CONFIG names from the hub to its cache (config key: "
        "hub_cache), verified, and a public benchmark's official prompts from GitHub. CONFIG may be the name of such a "
        "benchmark (edit-eval ls benchmarks). Runs ask no network.",
    )
    _add_set(_add_config(fetch))
    _add_dry_run(fetch, "say what is needed and how large it is; fetch nothing large")
    fetch.set_defaults(output=None, backend=None, devices=None, limit=None)


def _add_config(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG", help="YAML file, or the directory of an earlier run"
    )
    parser.add_argument("--config", dest="config_option", metavar="CONFIG", help="the same, as an option")
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    _add_place_options(parser)
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        help="only shard I of N (0/N to N-1/N), in shards/I-of-N of the run directory; edit-eval merge puts them together",
    )
    _add_dry_run(parser, "say what would be done, where and for how long; do nothing")
    parser.add_argument("--display", choices=_DISPLAYS, help="default: rich on a terminal, else plain")
    parser.add_argument(
        "--retry-failed", action="store_true", help="take up failed edits and unscored verdicts again"
    )
    parser.add_argument(
        "--verify", action="store_true", help="hash every edit instead of trusting size and time"
    )
    _add_price(parser)


def _add_price(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gpu-hour-price",
        type=_price,
        metavar="PRICE",
        help="say what the run cost, at this price of a GPU hour, in your currency",
    )


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no price; give a number such as 2.50")
    return price


def _shard(text: str) -> str:
    from edit_eval.driver.shards import Shard

    try:
        return str(Shard.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def _fraction(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no share; give a number above 0 and at most 1, such as 0.1"
        )
    return share


def _add_dry_run(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--dry-run", action="store_true", help=what)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override one key of the config"
    )


def _add_place_options(parser: argparse.ArgumentParser) -> None:
    _add_set(parser)
    parser.add_argument("--output", metavar="DIR", type=_named, help="run directory (config key: output)")
    parser.add_argument(
        "--limit",
        metavar="N",
        help="only so many samples, spread over the benchmark's groups (config key: limit); score judges so many of the edits "
        "that are there and leaves the others for later",
    )
    parser.add_argument(
        "--backend", choices=("local", "ray"), help="where models run (config key: backend.type)"
    )
    parser.add_argument(
        "--devices", metavar="LIST", help="devices of both stages, e.g. cuda:0,cuda:1 or cpu:0 or all"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        _open_streams()
        sys.excepthook = _report_fault
        _have_a_home()
        arguments = _parser().parse_args(argv)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):  # before a run begins, and after
            signal.signal(number, _interrupt)
        code = _run_command(arguments)
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error), EXIT_USER_ERROR)
    except Interrupted as error:
        return _complain(str(error), EXIT_INTERRUPTED)
    except EditEvalError as error:
        return _complain(str(error), EXIT_OUR_FAULT)
    except KeyboardInterrupt:
        return _complain(
            "interrupted; what was finished is kept, the same command goes on from there", EXIT_INTERRUPTED
        )
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing is wrong. Keep Python from writing to it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        line = _environment(error)
        if line is None:
            raise
        return _complain(line, EXIT_USER_ERROR)
    return code


_ENVIRONMENT: Mapping[int, str] = {
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ENOSPC: "make room there and give the same command again; what was finished is kept",
    errno.EDQUOT: "make room there and give the same command again; what was finished is kept",
    errno.EROFS: "make it writable, or name another place",
    errno.EACCES: "see who may use it, or name another place",
    errno.EPERM: "see who may use it, or name another place",
    errno.EIO: "look at the disk, then give the same command again",
    errno.ESTALE: "look at the disk, then give the same command again",
    errno.ELOOP: "a link leads to itself: correct it",
}
"""What the system refuses that is no fault of ours, and what to do about it."""


def _environment(error: OSError) -> str | None:
    """Return one line about what the system refused, or None for what may be a fault of ours."""
    mend = _ENVIRONMENT.get(error.errno or 0)
    if mend is None:
        return None
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        # Most likely what is printed. Keep Python from writing it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return f"{error.filename or 'what is printed here'}: {error.strerror}; {mend}"


def _open_streams() -> None:
    """Make output possible whatever the terminal: no character that it lacks, and no closed stream, ends a run."""
    if sys.stdout is None:  # started with `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - lives as long as we do
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _have_a_home() -> None:
    """Let `~` mean a folder that is not there where this user has none, as in a container: nothing fails on asking."""
    if not os.environ.get("HOME") and os.path.expanduser("~").startswith("~"):  # noqa: PTH111 - raises nothing
        os.environ["HOME"] = "/nonexistent"


def _run_command(arguments: argparse.Namespace) -> int:
    from edit_eval.cli import commands
    from edit_eval.cli.garbage import uncollected

    with uncollected():
        return commands.COMMANDS[arguments.command](arguments)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _report_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from edit_eval.cli.output import report_fault

    report_fault(kind, error, trace)


def _complain(message: str, code: int) -> int:
    from edit_eval.cli.output import complain

    complain(message)
    return code


def config_argument(arguments: argparse.Namespace) -> str:
    """Return the config that the command names, by position or by option."""
    given = [one for one in (arguments.config, arguments.config_option) if one]
    if len(given) != 1:
        raise ConfigError(
            "name one config: edit-eval run CONFIG" if not given else "the config is named twice"
        )
    return str(given[0])
