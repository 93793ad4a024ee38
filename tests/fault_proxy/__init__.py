"""A TCP proxy on loopback that does to connections what bad networks do.

``FaultProxy(port)`` listens at ``proxy.port`` and passes on; ``proxy.now(Fault.STALL)`` changes what happens from
then on, to connections that are there and to new ones. As a program: ``python3 -m fault_proxy --listen N --to PORT``,
which reads names of faults from its standard input, one a line.
"""

from fault_proxy.proxy import Fault, FaultProxy

__all__ = ["Fault", "FaultProxy"]
