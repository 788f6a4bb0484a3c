"""`python -m edit_eval` is `edit-eval`."""

from edit_eval.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
