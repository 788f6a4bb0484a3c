"""Which GPUs an inherited `CUDA_VISIBLE_DEVICES` means: integers, UUIDs whole or abbreviated, MIG ids.

Reads as CUDA does (tried on two H100): the list ends at the first entry that names nothing. Unlike CUDA, it
also takes numbers and UUIDs in one list, for what comes out is given to hosts one by one, as their own
`CUDA_VISIBLE_DEVICES`. Asks NVML, which it is handed, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edit_eval.core.errors import DeviceError

__all__ = ["Unit", "Visible", "units", "visible"]

NO_PERMISSION = 4
"""NVML's number for a GPU that this process may not look at, because a batch system gave it to another job."""


@dataclass(frozen=True)
class Unit:
    """One GPU as NVML has it.

    Attributes:
        index: NVML's, in the order of the PCI bus.
        uuid: empty if NVML does not tell.
        mig: whether it is divided into MIG instances; CUDA then gives a process one of them, never the whole.
        instances: their ids, in order.
        error: why NVML does not let us look at it; empty if it does.
        permitted: whether it is ours to look at.
    """

    index: int
    uuid: str = ""
    mig: bool = False
    instances: tuple[str, ...] = ()
    error: str = ""
    permitted: bool = True


@dataclass(frozen=True)
class Visible:
    """What a process may use.

    Attributes:
        tokens: in order; each names one GPU or one MIG instance, whole.
        notes: what is there and yet not among them, and why, for people.
    """

    tokens: tuple[str, ...]
    notes: tuple[str, ...] = ()


def units(nvml: Any) -> list[Unit]:
    """Return every GPU, also those that do not answer. Raises `DeviceError` if NVML cannot count them."""
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        raise DeviceError(f"NVML cannot count the GPUs: {error}; see what nvidia-smi says") from error
    return [_unit(nvml, index) for index in range(count)]


def _unit(nvml: Any, index: int) -> Unit:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(nvml.nvmlDeviceGetUUID(handle))
    except nvml.NVMLError as error:
        permitted = getattr(error, "value", None) != NO_PERMISSION
        return Unit(index, error=str(error), permitted=permitted)
    try:
        current, _after_reset = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # most GPUs cannot be divided
        current = 0
    if not current:
        return Unit(index, uuid)
    return Unit(index, uuid, mig=True, instances=tuple(_instances(nvml, handle)))


def _instances(nvml: Any, handle: Any) -> Iterator[str]:
    """Yield the ids of a GPU's MIG instances; places may be empty."""
    try:
        places = int(nvml.nvmlDeviceGetMaxMigDeviceCount(handle))
    except nvml.NVMLError:
        return
    for place in range(places):
        try:
            yield _text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)))
        except nvml.NVMLError:
            continue


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def visible(nvml: Any, inherited: str | None) -> Visible:
    """Return what a process with this `CUDA_VISIBLE_DEVICES` (None: not set) may use.

    Raises:
        DeviceError: NVML cannot count the GPUs, or the variable names something twice. CUDA then says that there is no GPU, which nobody would understand.
    """
    every = units(nvml)
    notes = [*_notes(every)]
    # CUDA does not count what it may not look at, so that integers mean others to it than to NVML.
    ours = [one for one in every if one.permitted]
    by_number = len(ours) == len(every) and not any(one.error for one in every)
    if inherited is None:
        tokens = [token for one in ours for token in _all_of(one, by_number=by_number)]
        return Visible(tuple(tokens), tuple(notes))
    tokens = []
    meant: set[str] = set()
    for entry in (part.strip() for part in inherited.split(",")):
        token = _meant(nvml, entry, ours, by_number=by_number)
        if token is None:
            notes += _end_of_list(inherited, entry, len(tokens))
            break
        same = {one.uuid or token for one in ours if token in (one.uuid, str(one.index))} or {token}
        if same & meant:
            raise DeviceError(f"CUDA_VISIBLE_DEVICES={inherited!r} names a GPU twice; name each once")
        tokens.append(token)
        meant |= same
    return Visible(tuple(tokens), tuple(notes))


def _all_of(one: Unit, *, by_number: bool) -> tuple[str, ...]:
    return one.instances if one.mig else (_name(one, by_number=by_number),)


def _name(one: Unit, *, by_number: bool) -> str:
    return str(one.index) if by_number or not one.uuid else one.uuid


def _meant(nvml: Any, entry: str, ours: Sequence[Unit], *, by_number: bool) -> str | None:
    """Return the whole name of what an entry means, or None if it means nothing."""
    if entry.startswith("MIG-"):
        fitting = [token for one in ours for token in one.instances if token.startswith(entry)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting and entry not in fitting:
            return None
        try:  # `MIG-GPU-UUID/INSTANCE/INSTANCE`, as older drivers write it
            return _text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByUUID(entry)))
        except nvml.NVMLError:
            return None
    if entry.startswith("GPU-"):
        # CUDA takes the beginning of a UUID, in small or capital letters, if it fits one GPU only; NVML takes whole ones.
        digits = entry.removeprefix("GPU-").lower()
        found = [one for one in ours if digits and one.uuid.removeprefix("GPU-").lower().startswith(digits)]
    else:
        # CUDA reads a number as C's strtol does: `+1`, `01`, `1abc` and `1 2` are all 1, and `0x1` is 0.
        number = re.match(r"[+-]?[0-9]+", entry)
        index = int(number[0]) if number else -1
        found = [ours[index]] if 0 <= index < len(ours) else []
    if len(found) != 1:
        return None
    [one] = found
    if one.mig:  # CUDA gives the first instance of a GPU that is named as a whole
        return one.instances[0] if one.instances else None
    return _name(one, by_number=by_number and not entry.startswith("GPU-"))


def _notes(every: Sequence[Unit]) -> Iterator[str]:
    for one in every:
        if one.error and one.permitted:
            yield f"GPU {one.index} does not answer ({one.error})"
        elif not one.permitted:
            yield f"GPU {one.index} is not for this process ({one.error})"
        elif one.mig and not one.instances:
            yield f"GPU {one.index} is in MIG mode and has no instance"


def _end_of_list(inherited: str, entry: str, count: int) -> Iterator[str]:
    """Say that entries after one that names nothing are not used; lists that are empty on purpose need no word."""
    rest = [part.strip() for part in inherited.split(",")][count + 1 :]
    if rest or entry.startswith(("GPU-", "MIG-")) or entry.isdigit():
        more = f" and what follows is left out: {', '.join(rest)}" if rest else ""
        yield f"CUDA_VISIBLE_DEVICES={inherited!r}: {entry!r} names no single GPU here{more}"
