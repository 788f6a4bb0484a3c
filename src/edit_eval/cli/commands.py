"""What each command does: wires driver and views together, and nothing more."""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edit_eval.cli import EXIT_OK, EXIT_PARTIAL, EXIT_USER_ERROR, config_argument
from edit_eval.cli.ending import ending_of
from edit_eval.cli.garbage import collected
from edit_eval.cli.signals import obey_signals
from edit_eval.core.errors import ConfigError, RunError
from edit_eval.core.identity import digest
from edit_eval.driver import registry
from edit_eval.driver.config import Checked, check_config, read_tree
from edit_eval.driver.control import Control
from edit_eval.driver.doctor import examine, examine_machine
from edit_eval.driver.events import Event, RunStarted, StageName
from edit_eval.driver.forecast import forecast
from edit_eval.driver.job import Job, prepare
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.rubrics import builtin_rubrics
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import Summary, read_rows, summarize
from edit_eval.driver.telemetry import read_telemetry
from edit_eval.driver.usage import usage
from edit_eval.views.doctor import show_findings
from edit_eval.views.export import canonical_lines
from edit_eval.views.forecast import forecast_json, forecast_text
from edit_eval.views.report import html_report, json_report, page_path, text_report
from edit_eval.views.terminal import open_display

__all__ = ["COMMANDS"]


def _checked(
    arguments: argparse.Namespace,
    base: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
) -> Checked:
    """Return the config that the arguments describe; a run directory stands for the config it was made from."""
    return check_config(_tree(arguments, base, replace))


def _tree(
    arguments: argparse.Namespace,
    base: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the same, not yet checked."""
    overrides = list(arguments.set)
    if arguments.output:
        overrides.append(f"output={json.dumps(arguments.output)}")
    path: str | None = None
    if base is None:
        path = config_argument(arguments)
        if (Path(path) / "run.json").is_file():
            base, path = {**RunReader(Path(path)).info["config"], "output": path}, None
        elif Path(path).is_dir():
            raise ConfigError(f"{path} is a folder without run.json; name a config file or a run directory")
    tree = read_tree(path, overrides, base, replace)
    if arguments.devices:
        devices = [part.strip() for part in arguments.devices.split(",")]
        stages = [
            name
            for name in ("editor", "judge")
            if isinstance(tree.get(name), dict) and name not in (replace or {})
        ]
        tree |= {name: {**tree[name], "devices": devices} for name in stages}
    return tree


def _perform(arguments: argparse.Namespace, checked: Checked, stages: Sequence[StageName]) -> int:
    """Do what is left of a job, then write the page, say how it ended and return the exit code."""
    if arguments.dry_run:
        return _foresee(arguments, checked, stages)
    job = prepare(checked, stages=stages, progress=_say)
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

        worked = run_job(
            job,
            emit,
            stages=stages,
            retry_failed=arguments.retry_failed,
            verify=arguments.verify,
            tick=display.tick,
            control=control,
        )
    return _conclude(job, arguments, stages, worked=worked)


def _say(text: str) -> None:
    """Say what takes long before there is a display; beside the results, not among them."""
    print(f"edit-eval: {text}", file=sys.stderr, flush=True)


def _foresee(arguments: argparse.Namespace, checked: Checked, stages: Sequence[StageName]) -> int:
    """Say what a start would do, and do nothing."""
    found = forecast(checked, stages=stages, retry_failed=arguments.retry_failed, verify=arguments.verify)
    as_json = arguments.display == "json"
    print(json.dumps(forecast_json(found)) if as_json else forecast_text(found))
    return EXIT_OK


def _conclude(job: Job, arguments: argparse.Namespace, stages: Sequence[StageName], *, worked: bool) -> int:
    """Write the page, print how the run ended, and return the exit code."""
    ending = ending_of(job.output, arguments.gpu_hour_price, changed=worked)
    shown = _nearest(page_path(job.output))
    if arguments.display == "json":
        _show(json.dumps({"event": "run_finished", "worked": worked, "report": shown, **ending.data}))
    else:
        if not worked:
            _show(_nothing_to_do(job, ending.unfinished))
        _show(f"{ending.text}\n\nReport: {shown}")
    enough = ending.scores_reach if "judge" in stages else ending.edits_reach
    return EXIT_OK if enough else EXIT_PARTIAL


def _nothing_to_do(job: Job, unfinished: int) -> str:
    hint = f" --retry-failed takes up the {unfinished} failed or unscored again." if unfinished else ""
    return f"Nothing to do: everything in {_nearest(job.output)} is done already.{hint}"


def _show(text: str) -> None:
    """Print; a reader that has gone (`| head`) changes nothing about how the run ended."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code(summary: Summary) -> int:
    return EXIT_OK if summary.complete else EXIT_PARTIAL


def _nearest(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def run(arguments: argparse.Namespace) -> int:
    """`edit-eval run CONFIG`."""
    return _perform(arguments, _checked(arguments), ("edit", "judge"))


def edit(arguments: argparse.Namespace) -> int:
    """`edit-eval edit CONFIG`: the first stage only; complete means that every sample has an edit."""
    checked = _checked(arguments)
    return _perform(arguments, checked, ("edit",))


def score(arguments: argparse.Namespace) -> int:
    """`edit-eval score CONFIG`: the second stage only, or, with `--edits`, over a folder of finished edits."""
    if not arguments.edits:
        return _perform(arguments, _checked(arguments), ("judge",))
    folder = Path(arguments.edits).absolute()
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(folder)}}
    # Two folders of one name have each a run of their own.
    output = arguments.output or str(Path("runs") / f"{folder.name}-scored-{digest(str(folder))[:8]}")
    return _perform(
        arguments, _checked(arguments, replace={"editor": editor, "output": output}), ("edit", "judge")
    )


def doctor(arguments: argparse.Namespace) -> int:
    """`edit-eval doctor [CONFIG]`."""
    if arguments.config or arguments.config_option:
        findings = examine(lambda: _tree(arguments), deep=arguments.deep)
    elif arguments.deep or arguments.set or arguments.devices or arguments.output:
        raise ConfigError("these options need a config: edit-eval doctor CONFIG")
    else:
        findings = examine_machine()
    shown = show_findings(findings, sys.stdout)
    return EXIT_USER_ERROR if any(one.level == "bad" for one in shown) else EXIT_OK


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
    """`edit-eval report RUN`."""
    run_reader = RunReader(Path(arguments.run))
    rows = read_rows(run_reader, thumbnails=arguments.format != "json")
    summary = summarize(run_reader, rows)
    used = usage(read_telemetry(run_reader.path), arguments.gpu_hour_price)
    if arguments.format == "json":
        text = json.dumps(json_report(summary, rows, used), ensure_ascii=False, indent=2)
        print(text.encode("utf-8", "backslashreplace").decode())  # lone surrogates become JSON's own escapes
    else:
        if arguments.format == "text":
            print(text_report(summary, rows, used))  # first: a page that cannot be written costs no number
        page = _nearest(html_report(run_reader.path, summary, rows, used))
        print(page if arguments.format == "html" else f"Report: {page}")
    return _exit_code(summary)


def export(arguments: argparse.Namespace) -> int:
    """`edit-eval export RUN --canonical`."""
    run_reader = RunReader(Path(arguments.run))
    for line in canonical_lines(read_rows(run_reader, thumbnails=False)):
        print(line)
    return EXIT_OK


def ls(arguments: argparse.Namespace) -> int:
    """`edit-eval ls [WHAT]`."""
    if arguments.what == "runs":
        return _ls_runs(Path(arguments.runs))
    kinds: dict[str, registry.Kind] = {"benchmarks": "benchmark", "editors": "editor", "judges": "judge"}
    for title, kind in kinds.items():
        if arguments.what in (None, title):
            _ls_kind(title, kind)
    if arguments.what in (None, "rubrics"):
        print("rubrics\n  " + "\n  ".join(builtin_rubrics()))
    return EXIT_OK


def _ls_kind(title: str, kind: registry.Kind) -> None:
    print(title)
    for name in sorted(registry.names(kind)):
        try:
            found = registry.find(kind, name)
        except ConfigError as error:
            print(f"  {name:<18} unusable: {error}")
            continue
        print(f"  {name:<18} {_first_sentence(found.cls)}")
    aliases = registry.ALIASES[kind]
    for name, alias in sorted(aliases.items()):
        print(f"  {name:<18} = {alias.type}, model {alias.model}")


def _first_sentence(cls: type) -> str:
    text = " ".join((cls.__doc__ or "").split("\n\n")[0].split()).replace("`", "")
    return text.split(". ")[0].rstrip(".")


def _ls_runs(folder: Path) -> int:
    if not folder.is_dir():
        raise RunError(f"no folder of runs at {folder}")
    for path in sorted(one.parent for one in folder.glob("*/run.json")):
        try:
            summary = summarize(RunReader(path))
        except RunError as error:
            print(f"{path}  unreadable: {error}")
            continue
        mean = "-" if summary.headline.mean is None else f"{summary.headline.mean:.3f}"
        print(
            f"{path}  {summary.protocol}  {summary.editor}  mean {mean}  n {summary.headline.n}/{summary.wanted}"
        )
    return EXIT_OK


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "edit": edit,
    "score": score,
    "report": report,
    "export": export,
    "demo": demo,
    "doctor": doctor,
    "ls": ls,
}
