"""The host side of the appliance: daemon, gateway and operator's command."""

__version__ = "0.1.0"
