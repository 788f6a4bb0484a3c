"""What a run was made with, from run.json: models and their revisions, versions, seeds, hashes, and how to repeat it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edit_eval.driver.runinfo import distinct, hosts_in, mapping, starts_in

__all__ = ["Provenance", "provenance_of"]

_LIBRARIES = ("torch", "diffusers", "transformers", "vllm", "accelerate", "onnxruntime", "pillow", "numpy")


@dataclass(frozen=True)
class Provenance:
    """How a run was made.

    Attributes:
        facts: label -> text, whole hashes among them.
        command: repeats the run, or takes up what it lacks, where its directory is; empty where that is not known.
        config: the resolved config as YAML, without secrets; a file with it repeats the run elsewhere.
    """

    facts: Mapping[str, str]
    command: str
    config: str


def provenance_of(info: Mapping[str, Any]) -> Provenance:
    """Return what run.json says of how a run was made; what it does not say is left out."""
    identity, config = mapping(info.get("identity")), mapping(info.get("config"))
    facts: dict[str, str] = {}
    for stage in ("editor", "judge"):
        facts |= _stage_facts(stage, mapping(identity.get(stage)), mapping(config.get(stage)))
    for key, data in mapping(info.get("data")).items():
        facts[f"data: {key}"] = _joined(mapping(data))
    benchmark = mapping(config.get("benchmark"))
    facts["benchmark"] = " ".join(
        str(one) for one in (benchmark.get("type"), benchmark.get("path")) if one is not None
    )
    facts["rubric hash"] = _text(identity.get("rubric"))
    facts["seed"] = _text(config.get("seed"))
    facts["repeats"] = _text(config.get("repeats"))
    facts |= _starts_facts(starts_in(info))
    facts["created"] = _text(info.get("created"))
    output = config.get("output")
    return Provenance(
        facts={label: text for label, text in facts.items() if text},
        command=f"edit-eval run {shlex.quote(str(output))}" if output else "",
        config=_yaml(config),
    )


def _stage_facts(stage: str, identity: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """Return what a stage ran: `editor`, its model's revision, its parts and parameters."""
    name, version = _text(identity.get("name")), _text(identity.get("version"))
    facts = {stage: f"{name}, version {version}" if name and version else name}
    model = mapping(identity.get("model"))
    facts[f"{stage}'s model"] = _text(config.get("model") or model.get("repository") or model.get("name"))
    facts[f"{stage}'s revision"] = _text(model.get("commit"))
    facts[f"{stage}'s weights"] = f"sha256 {model['sha256']}" if model.get("sha256") else ""
    for part, known in mapping(identity.get("components")).items():
        facts[f"{stage}'s {part}"] = _joined(mapping(known))
    facts[f"{stage}'s LoRA"] = _joined(mapping(identity.get("lora")))
    facts[f"{stage}'s parameters"] = _joined(mapping(identity.get("params")))
    return facts


def _starts_facts(starts: list[Mapping[str, Any]]) -> dict[str, str]:
    hosts = hosts_in(starts)
    facts = {"edit-eval": distinct(start.get("edit_eval") for start in starts)}
    facts["python"] = distinct(host.get("python") for host in hosts) or distinct(
        start.get("python") for start in starts
    )
    facts |= {name: distinct(host.get(name) for host in hosts) for name in _LIBRARIES}
    facts["compiled"] = distinct(host.get("compile") for host in hosts)
    facts["accelerators"] = distinct(host.get("accelerator") for host in hosts)
    facts["starts"] = ", ".join(_text(start.get("at")) for start in starts[:10]) + (
        f" and {len(starts) - 10} more" if len(starts) > 10 else ""
    )
    return facts


def _joined(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items() if value is not None)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    if not config:
        return ""
    try:
        return yaml.safe_dump(dict(config), allow_unicode=True, sort_keys=False, width=1000)
    except yaml.YAMLError:
        return ""
