"""Servers (a judge as a reward, a viewer of runs) will live here; beside `cli` the only place that knows everybody."""
