"""`python -m causaldsl` is the `causaldsl` command."""

import sys

from causaldsl.cli import main

sys.exit(main())
