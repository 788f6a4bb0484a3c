"""What each command does: wires driver and views together, and nothing more."""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from edit_eval.cli import EXIT_OK, EXIT_PARTIAL, EXIT_USER_ERROR, config_argument
from edit_eval.cli.comparing import compare
from edit_eval.cli.exports import export
from edit_eval.cli.garbage import collected
from edit_eval.cli.output import nearest as _nearest
from edit_eval.cli.output import one_line, say, show, show_json, without_secrets
from edit_eval.cli.signals import obey_signals
from edit_eval.core.errors import ConfigError, RunError, did_you_mean, shown
from edit_eval.core.identity import digest
from edit_eval.driver import registry
from edit_eval.driver.config import Checked, check_config, read_tree
from edit_eval.driver.control import Control
from edit_eval.driver.doctor import Finding, examine, examine_machine
from edit_eval.driver.events import Event, RunStarted, StageName
from edit_eval.driver.fetch import Fetcher
from edit_eval.driver.forecast import forecast
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubs import Watch
from edit_eval.driver.huggingface import settle_environment
from edit_eval.driver.job import Job, prepare
from edit_eval.driver.judgefile import read_judge
from edit_eval.driver.judges import is_beside
from edit_eval.driver.lint import FolderOfEdits
from edit_eval.driver.lint import lint as look_into
from edit_eval.driver.opinions import opinions_on
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.rubrics import builtin_rubrics
from edit_eval.driver.runinfo import needed, read_info
from edit_eval.driver.samples import load_samples
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import Row, Summary, read_rows, summarize
from edit_eval.driver.telemetry import read_telemetry
from edit_eval.driver.usage import Usage, usage
from edit_eval.views.benchmarks import fact_lines
from edit_eval.views.closing import closing_block
from edit_eval.views.doctor import show_findings
from edit_eval.views.fetch import config_text, fetch_text, open_progress
from edit_eval.views.forecast import forecast_json, forecast_text
from edit_eval.views.numbers import Numbers, made_from, numbers_of
from edit_eval.views.report import (
    html_report,
    json_report,
    missing_block,
    page_path,
    standing,
    text_report,
)
from edit_eval.views.terminal import open_display
from edit_eval.views.text import clean, wrapped
from edit_eval.views.usage import usage_block
from edit_eval.worker.proxies import is_proxy_variable

__all__ = ["COMMANDS"]

_INDENT = "      "
_NAME_COLUMNS = 21
_LEAST_COLUMNS = 72
"""`ls` breaks no line before: an address is not cut."""

_MOST_COLUMNS = 120
"""`ls` writes no longer lines, however wide the terminal: they would be hard to read."""


def _checked(
    arguments: argparse.Namespace,
    base: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
) -> Checked:
    """Return the config that the arguments describe; a run directory stands for the config it was made from.

    `replace` has sections that take the place of the config's. With `proxy: none` this process forgets its proxies too.
    """
    checked = check_config(_tree(arguments, base, replace))
    if checked.config.proxy == "none":
        for name in [name for name in os.environ if is_proxy_variable(name)]:
            del os.environ[name]
    return checked


def _tree(
    arguments: argparse.Namespace,
    base: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the same, not yet checked."""
    overrides = list(arguments.set)
    if arguments.output:
        overrides.append(f"output={json.dumps(arguments.output)}")
    if arguments.limit is not None:
        overrides.append(
            f"limit={json.dumps(int(arguments.limit) if arguments.limit.isdecimal() else arguments.limit)}"
        )
    path: str | None = None
    if base is None:
        path = config_argument(arguments)
        if (Path(path) / "run.json").is_file():
            base, path = {**needed(read_info(Path(path)), "config", Path(path)), "output": path}, None
        elif Path(path).is_dir():
            raise ConfigError(f"{path} is a folder without run.json; name a config file or a run directory")
    tree = read_tree(path, overrides, base, replace)
    if arguments.devices:
        parts = [part.strip() for part in arguments.devices.split(",")]
        devices = [int(part) if re.fullmatch("[0-9]{1,4}", part) else part for part in parts]
        stages = [
            name
            for name in ("editor", "judge")
            if isinstance(tree.get(name), dict) and (name == "judge" or name not in (replace or {}))
        ]
        tree |= {name: {**tree[name], "devices": devices} for name in stages}
    return tree


def _perform(
    arguments: argparse.Namespace,
    checked: Checked,
    stages: Sequence[StageName],
    *,
    beside: bool = False,
    repeat_fraction: float = 0.0,
) -> int:
    """Do what is left of a job, then write the page, say how it ended and return the exit code."""
    how: dict[str, Any] = {
        "stages": stages,
        "retry_failed": arguments.retry_failed,
        "verify": arguments.verify,
        "repeat_fraction": repeat_fraction,
    }
    if arguments.dry_run:
        return _foresee(arguments, checked, how)
    job = prepare(checked, stages=stages, progress=say)
    control = Control()
    with (
        open_display(arguments.display, sys.stdout) as display,
        obey_signals(control),
        ExitStack() as working,
    ):

        def emit(event: Event) -> None:
            if isinstance(event, RunStarted):
                working.enter_context(collected())
            display(event)

        worked = run_job(job, emit, **how, beside=beside, tick=display.tick, control=control)
    return _conclude(job, arguments, stages, worked=worked)


def _foresee(arguments: argparse.Namespace, checked: Checked, how: Mapping[str, Any]) -> int:
    """Say what a start would do, and do nothing."""
    found = forecast(checked, **how)
    if arguments.display == "json":
        show_json(forecast_json(found))
    else:
        show(forecast_text(found))
    return EXIT_OK


def _conclude(job: Job, arguments: argparse.Namespace, stages: Sequence[StageName], *, worked: bool) -> int:
    """Write the page, print how the run ended, and return the exit code. Numbers are printed also without a page."""
    stamp = made_from(job.output, arguments.gpu_hour_price)
    numbers = None if worked else standing(job.output, stamp, len(job.wanted))
    page: Path | None = page_path(job.output)
    no_page: RunError | None = None
    if numbers is None:
        run = RunReader(job.output)
        rows = read_rows(run)
        used = usage(read_telemetry(job.output), arguments.gpu_hour_price)
        numbers = numbers_of(summarize(run, rows), rows, used)
        page, no_page = _page(run, numbers.summary, rows, used, stamp)
    _say_end(job, arguments, numbers, _nearest(page) if page else None, worked=worked)
    if no_page:
        raise no_page
    return _exit_code(
        numbers.summary, judged="judge" in stages, beside=_coverage_beside(job, numbers.summary)
    )


def _coverage_beside(job: Job, summary: Summary) -> float | None:
    """Return the coverage of the judge that was asked, if it is another one than the run's own."""
    if job.judge is None or not is_beside(read_info(job.output), job.judge.judging):
        return None
    return next((one.coverage for one in summary.others if one.id == job.judge.judging.id[:16]), 0.0)


def _say_end(
    job: Job, arguments: argparse.Namespace, numbers: Numbers, page: str | None, *, worked: bool
) -> None:
    summary, used = numbers.summary, numbers.usage
    if arguments.display == "json":
        end = {"event": "run_finished", "worked": worked, "report": page, **json_report(summary, [], used)}
        _show(json.dumps(end))
        return
    if not worked:
        _show(_nothing_to_do(job, summary))
    blocks = [
        closing_block(summary),
        missing_block(numbers.first_missing, numbers.missing),
        usage_block(used) if used else None,
        f"Report: {page}" if page else None,
    ]
    _show("\n\n".join(filter(None, blocks)))


def _page(
    run: RunReader, summary: Summary, rows: Sequence[Row], used: Usage | None, stamp: str
) -> tuple[Path, None] | tuple[None, RunError]:
    """Write the page; return where it is, or why there is none."""
    try:
        return html_report(run.path, summary, rows, used, stamp, opinions_on(run, rows)), None
    except RunError as error:
        return None, error


def _nothing_to_do(job: Job, summary: Summary) -> str:
    again = sum(summary.edit_failed.values()) + sum(summary.unscored.values())
    hint = f" --retry-failed takes up the {again} failed or unscored again." if again else ""
    return f"Nothing to do: everything in {_nearest(job.output)} is done already.{hint}"


def _show(text: str) -> None:
    """Print; a reader that has gone (`| head`), or a full disk, changes nothing about how the run ended."""
    try:
        show(text)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code(summary: Summary, *, judged: bool = True, beside: float | None = None) -> int:
    """Return whether there is as much as was wanted of what was asked for: edits, or the verdicts of one judge."""
    enough = summary.reaches(judged=judged) if beside is None else beside >= summary.min_coverage
    return EXIT_OK if enough else EXIT_PARTIAL


def run(arguments: argparse.Namespace) -> int:
    """`edit-eval run CONFIG`."""
    return _perform(arguments, _checked(arguments), ("edit", "judge"))


def edit(arguments: argparse.Namespace) -> int:
    """`edit-eval edit CONFIG`: the first stage only; complete means that every sample has an edit."""
    checked = _checked(arguments)
    return _perform(arguments, checked, ("edit",))


def score(arguments: argparse.Namespace) -> int:
    """`edit-eval score CONFIG`: the second stage only, or, with `--edits`, over a folder of finished edits."""
    beside = arguments.judge is not None
    given: dict[str, Any] = {"judge": read_judge(arguments.judge)} if beside else {}
    asked: dict[str, Any] = {"beside": beside, "repeat_fraction": arguments.repeat_fraction}
    if not arguments.edits:
        return _perform(arguments, _checked(arguments, replace=given), ("judge",), **asked)
    folder = Path(arguments.edits).absolute()
    # Two folders of one name have each a run of their own.
    output = arguments.output or str(Path("runs") / f"{folder.name}-scored-{digest(str(folder))[:8]}")
    given |= {"editor": _made_elsewhere(folder), "output": output}
    return _perform(arguments, _checked(arguments, replace=given), ("edit", "judge"), **asked)


def doctor(arguments: argparse.Namespace) -> int:
    """`edit-eval doctor [CONFIG]`."""
    if arguments.config or arguments.config_option:
        findings = examine(lambda: _tree(arguments), deep=arguments.deep)
    elif arguments.deep or arguments.set or arguments.devices or arguments.output:
        raise ConfigError("these options need a config: edit-eval doctor CONFIG")
    else:
        findings = examine_machine()
    shown = show_findings(map(_without_secrets, findings), sys.stdout)
    return EXIT_USER_ERROR if any(one.level == "bad" for one in shown) else EXIT_OK


def _made_elsewhere(folder: Path) -> dict[str, Any]:
    return {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(folder)}}


def lint(arguments: argparse.Namespace) -> int:
    """`edit-eval lint CONFIG [--edits DIR]`."""
    given = {"editor": _made_elsewhere(Path(arguments.edits).absolute())} if arguments.edits else {}
    checked = _checked(arguments, replace={"limit": None, **given})
    params = checked.editor.resolve(checked.params["editor"], checked.config.editor.model)
    with tempfile.TemporaryDirectory(prefix="edit-eval-") as drawn:
        samples = load_samples(checked, Path(drawn), Path(drawn))
        found = FolderOfEdits.of(samples, checked.config.repeats, checked.editor.cls, params)
        if found is None:
            raise ConfigError(
                f"editor.type: {checked.editor.name} makes its edits; lint looks into a folder of finished ones: --edits DIR"
            )
        with FileHashes() as hashes:
            shown = show_findings(
                map(_without_secrets, look_into(found, hashes)), sys.stdout, "the result would be partial"
            )
    return EXIT_USER_ERROR if any(one.level == "bad" for one in shown) else EXIT_OK


def _without_secrets(finding: Finding) -> Finding:
    what, detail, mend = map(without_secrets, (finding.what, finding.detail, finding.mend))
    return replace(finding, what=what, detail=detail, mend=mend)


def fetch(arguments: argparse.Namespace) -> int:
    """`edit-eval fetch CONFIG`: sizes first, then the files, each repository visible to runs once it is whole.

    The name of a public benchmark in place of a config stands for one that names nothing else.
    """
    checked = _checked(arguments, _of_benchmark(arguments))
    settle_environment(os.environ)
    with FileHashes() as hashes, open_progress(sys.stderr) as progress:
        watch = Watch(advance=progress.advance, say=progress.say)
        fetcher = Fetcher(checked, hashes, watch)
        plan = fetcher.plan()
        show(fetch_text(plan))
        if arguments.dry_run or not (plan.items or plan.small):
            return EXIT_OK
        fetcher.refuse_too_large(plan)
        progress.begin(plan.bytes_left)
        without = fetcher.fetch(plan)
    if plan.free:
        folders = ", ".join(str(folder) for folder, _ in plan.free)
        show(f"All of it is in {folders}, whole and verified. Runs find it there and ask no network.")
    if text := config_text(checked.benchmark.name, plan):
        show(text)
    for line in without:
        say(f"{line}. Without the official prompts a run uses our own, and its protocol id says so")
    return EXIT_USER_ERROR if without else EXIT_OK


def _of_benchmark(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Return a config of nothing but a public benchmark, if the command names one in place of a config."""
    name = config_argument(arguments)
    if Path(name).exists():
        return None
    if name not in registry.BENCHMARKS:
        if hint := did_you_mean(name, sorted(registry.BENCHMARKS)):
            raise ConfigError(f"no config and no benchmark is called {shown(name)}{hint}")
        return None
    if registry.find("benchmark", name).cls.facts is None:
        return None
    return {"benchmark": {"type": name}, "editor": {"type": "scripted"}}


def demo(arguments: argparse.Namespace) -> int:
    """`edit-eval demo`: the built-in benchmark; each demo gets a directory of its own unless one is named."""
    import yaml

    text = importlib.resources.files("edit_eval.cli").joinpath("demo.yaml").read_text(encoding="utf-8")
    base = yaml.safe_load(text)
    base["output"] = str(_free(Path("runs") / "demo"))
    return _perform(arguments, _checked(arguments, base), ("edit", "judge"))


def _free(path: Path) -> Path:
    number = 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def report(arguments: argparse.Namespace) -> int:
    """`edit-eval report RUN`. A page that cannot be written is said; only who asked for it alone gets exit code 2."""
    stamp = made_from(Path(arguments.run), arguments.gpu_hour_price)
    run_reader = RunReader(Path(arguments.run))
    rows = read_rows(run_reader, thumbnails=arguments.format != "json")
    summary = summarize(run_reader, rows)
    used = usage(read_telemetry(run_reader.path), arguments.gpu_hour_price)
    if arguments.format == "json":
        show_json(json_report(summary, rows, used), indent=2)
    else:
        if arguments.format == "text":
            show(text_report(summary, rows, used))
        page, no_page = _page(run_reader, summary, rows, used, stamp)
        if no_page and arguments.format == "html":
            raise no_page
        if no_page:
            say(str(no_page))
        if page:
            show(_nearest(page) if arguments.format == "html" else f"Report: {_nearest(page)}")
    return _exit_code(summary)


def ls(arguments: argparse.Namespace) -> int:
    """`edit-eval ls [WHAT]`."""
    if arguments.what == "runs":
        return _ls_runs(Path(arguments.runs))
    kinds: dict[str, registry.Kind] = {"benchmarks": "benchmark", "editors": "editor", "judges": "judge"}
    for title, kind in kinds.items():
        if arguments.what in (None, title):
            _ls_kind(title, kind)
    if arguments.what in (None, "rubrics"):
        show("rubrics\n  " + "\n  ".join(builtin_rubrics()))
    return EXIT_OK


def _ls_kind(title: str, kind: registry.Kind) -> None:
    columns = min(max(shutil.get_terminal_size().columns, _LEAST_COLUMNS), _MOST_COLUMNS)
    show(title)
    for name in sorted(registry.names(kind)):
        show(
            f"  {clean(name, 80):<18} ", end=""
        )  # before it is imported: a plugin may take long, or never end
        try:
            found = registry.find(kind, name)
            found.refuse_unusable()
        except ConfigError as error:
            show(f"unusable: {one_line(str(error))}")
            continue
        first, *rest = wrapped(_first_sentence(found.cls), columns - _NAME_COLUMNS)
        lines = [first, *(f"{'':<{_NAME_COLUMNS}}{line}" for line in rest)]
        facts = fact_lines(found.cls, columns - len(_INDENT)) if kind == "benchmark" else []
        show("\n".join([*lines, *(_INDENT + line for line in facts)]))
    for name, why in registry.left_out(kind):
        show(f"  {clean(name, 80):<18} unusable: {one_line(why)}")
    aliases = registry.ALIASES[kind]
    for name, alias in sorted(aliases.items()):
        show(f"  {name:<18} = {alias.type}, model {alias.model}")


def _first_sentence(cls: type) -> str:
    text = clean(str(cls.__doc__ or "").split("\n\n")[0]).replace("`", "")
    return text.split(". ")[0].rstrip(".")


def _ls_runs(folder: Path) -> int:
    if not folder.is_dir():
        raise RunError(f"no folder of runs at {folder}")
    for path in sorted(one.parent for one in folder.glob("*/run.json")):
        shown = clean(str(path))
        try:
            summary = summarize(RunReader(path))
        except RunError as error:
            show(f"{shown}  unreadable: {one_line(str(error))}")
            continue
        mean = "-" if summary.headline.mean is None else f"{summary.headline.mean:.3f}"
        counts = f"n {summary.headline.n}/{summary.wanted}"
        show(f"{shown}  {clean(summary.protocol)}  {clean(summary.editor)}  mean {mean}  {counts}")
    return EXIT_OK


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "edit": edit,
    "score": score,
    "report": report,
    "compare": compare,
    "export": export,
    "demo": demo,
    "doctor": doctor,
    "lint": lint,
    "fetch": fetch,
    "ls": ls,
}
