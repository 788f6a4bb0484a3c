"""`python main.py --config CONFIG` is `edit-eval run --config CONFIG`."""

import sys

from edit_eval.cli import main

sys.exit(main(["run", *sys.argv[1:]]))
