"""`python -m tljax`."""

import sys

from tljax.cli import main

sys.exit(main())
