"""What runs beside a model: keeper, host and the protocol between them. Standard library at import time."""
