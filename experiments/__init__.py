"""One file, one question, one command: `python -m experiments.NAME --help`."""
