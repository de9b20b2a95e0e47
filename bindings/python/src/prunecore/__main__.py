# SPDX-License-Identifier: Apache-2.0
"""`python -m prunecore`: the command `prunecore`."""

import sys

from prunecore.cli import main

if __name__ == "__main__":
    sys.exit(main())
