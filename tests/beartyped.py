"""What checks arguments and results against their annotations, where the tests are run with TLJAX_TYPECHECK=1."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as type checkers have it
