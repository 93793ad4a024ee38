"""The control socket: everything that the daemon offers to operators."""

from nanoclawd.control.api import Backend
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.served import methods_of
from nanoclawd.control.varlink_server import VarlinkServer


class ControlServer(VarlinkServer):
    """Serves the backend's interfaces."""

    def __init__(self, backend: Backend, bounds: Bounds | None = None) -> None:
        bounds = bounds or Bounds()
        super().__init__(methods_of(backend, bounds), Introspection(), bounds)
