"""The host side of the appliance: daemon, gateway and operator's command."""

import sys

__version__ = "0.1.0"

# The libraries that a distribution does not have and the package for it brings along (packaging/rpm/vendored.txt). Last:
# one that the distribution has is the one that is used.
sys.path.append("/usr/lib/nanoclawd/vendor")
