"""`python -m openprepay`: the same as the console command."""

import sys

from openprepay.cli import main

sys.exit(main())
