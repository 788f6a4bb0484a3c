"""Servers, on loopback only: a viewer of runs. Beside `cli` the only place that knows everybody."""
