"""`python -m i2i_sdk` is `i2i`."""

import sys

from i2i_sdk.cli.main import main

sys.exit(main())
