"""A bad network between a client and a server on loopback: a TCP proxy that a test tells what to do to the bytes."""

from fault_proxy.proxy import FaultProxy, Weather
from fault_proxy.running import RunningProxy

__all__ = ["FaultProxy", "RunningProxy", "Weather"]
