"""The host side of the appliance: daemon, gateway and operator's command."""

import sys

__version__ = "0.1.0"

# Libraries that a distribution does not have, and that the package for it brings along (packaging/rpm/vendored.txt).
# Last: where the distribution has one after all, that is used.
sys.path.append("/usr/lib/nanoclawd/vendor")
