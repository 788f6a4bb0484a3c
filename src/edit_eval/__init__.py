"""edit-eval: edit a benchmark's images on every device, judge every edit, report scores with error bars.

This file is imported inside model processes too, so it imports nothing but what it needs lazily.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
