"""All faults, family by family, in the order of the table."""

from __future__ import annotations

from faults import disk, files, inputs, messages, processes, soak

FAULTS = (*processes.FAULTS, *messages.FAULTS, *disk.FAULTS, *files.FAULTS, *inputs.FAULTS, *soak.FAULTS)
