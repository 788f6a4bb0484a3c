"""The driver: config, plan, pool, pipeline. Starts processes, keeps the ledgers, emits events; imports no torch."""
