"""What each command does: wires driver and views together, and nothing more."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edit_eval.cli import EXIT_OK, EXIT_USER_ERROR, config_argument
from edit_eval.cli.comparing import compare
from edit_eval.cli.configs import checked_config, described
from edit_eval.cli.demo import demo
from edit_eval.cli.exports import export
from edit_eval.cli.garbage import collected
from edit_eval.cli.listing import ls
from edit_eval.cli.merging import merge
from edit_eval.cli.output import nearest, say, show, show_json, without_secrets
from edit_eval.cli.performing import exit_code, perform, write_page
from edit_eval.core.errors import ConfigError, did_you_mean
from edit_eval.core.errors import shown as quoted
from edit_eval.core.identity import digest
from edit_eval.driver import registry
from edit_eval.driver.doctor import Finding, examine, examine_machine
from edit_eval.driver.fetch import Fetcher
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubs import Watch
from edit_eval.driver.huggingface import settle_environment
from edit_eval.driver.judgefile import read_judge
from edit_eval.driver.lint import FolderOfEdits
from edit_eval.driver.lint import lint as look_into
from edit_eval.driver.samples import load_samples
from edit_eval.serve.shown import read_shown
from edit_eval.views.doctor import show_findings
from edit_eval.views.fetch import config_text, fetch_text, open_progress
from edit_eval.views.report import (
    json_report,
    text_report,
)

__all__ = ["COMMANDS"]


def run(arguments: argparse.Namespace) -> int:
    """`edit-eval run CONFIG`."""
    return perform(arguments, checked_config(arguments), ("edit", "judge"))


def edit(arguments: argparse.Namespace) -> int:
    """`edit-eval edit CONFIG`: the first stage only; complete means that every sample has an edit."""
    checked = checked_config(arguments)
    return perform(arguments, checked, ("edit",))


def score(arguments: argparse.Namespace) -> int:
    """`edit-eval score CONFIG`: the second stage only, or, with `--edits`, over a folder of finished edits."""
    beside = arguments.judge is not None
    given: dict[str, Any] = {"judge": read_judge(arguments.judge)} if beside else {}
    asked: dict[str, Any] = {"beside": beside, "repeat_fraction": arguments.repeat_fraction}
    if not arguments.edits:
        return perform(arguments, checked_config(arguments, replace=given), ("judge",), **asked)
    folder = Path(arguments.edits).absolute()
    # Two folders of one name have each a run of their own.
    output = arguments.output or str(Path("runs") / f"{folder.name}-scored-{digest(str(folder))[:8]}")
    given |= {"editor": _made_elsewhere(folder), "output": output}
    return perform(arguments, checked_config(arguments, replace=given), ("edit", "judge"), **asked)


def doctor(arguments: argparse.Namespace) -> int:
    """`edit-eval doctor [CONFIG]`."""
    if arguments.config or arguments.config_option:
        findings = examine(lambda: described(arguments), deep=arguments.deep)
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
    checked = checked_config(arguments, replace={"limit": None, **given})
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
    checked = checked_config(arguments, _of_benchmark(arguments))
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
            raise ConfigError(f"no config and no benchmark is called {quoted(name)}{hint}")
        return None
    if registry.find("benchmark", name).cls.facts is None:
        return None
    return {"benchmark": {"type": name}, "editor": {"type": "scripted"}}


def report(arguments: argparse.Namespace) -> int:
    """`edit-eval report RUN`. A page that cannot be written is said; only who asked for it alone gets exit code 2."""
    shown = read_shown(Path(arguments.run), arguments.gpu_hour_price, thumbnails=arguments.format != "json")
    if arguments.format == "json":
        show_json(json_report(shown.summary, shown.rows, shown.usage), indent=2)
        return exit_code(shown.summary)
    if arguments.format == "text":
        show(text_report(shown.summary, shown.rows, shown.usage))
    page, no_page = write_page(shown)
    if no_page and arguments.format == "html":
        raise no_page
    if no_page:
        say(str(no_page))
    if page:
        show(nearest(page) if arguments.format == "html" else f"Report: {nearest(page)}")
    return exit_code(shown.summary)


def view(arguments: argparse.Namespace) -> int:
    """`edit-eval view RUN`: until Ctrl-C, which is the way to end it and so no failure."""
    from edit_eval.serve.view import open_server

    with open_server(Path(arguments.run), arguments.port, arguments.gpu_hour_price) as server, collected():
        try:
            show(f"{nearest(Path(arguments.run))}: {server.address} (Ctrl-C ends)")
            server.serve_forever()
        except KeyboardInterrupt:
            show("")
    return EXIT_OK


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "edit": edit,
    "score": score,
    "report": report,
    "merge": merge,
    "compare": compare,
    "view": view,
    "export": export,
    "demo": demo,
    "doctor": doctor,
    "lint": lint,
    "fetch": fetch,
    "ls": ls,
}
