"""Ways out of a container that are none: the list, by what they lead through.

A row names the way, what must come of it, and what is tried. As a program in a container (``python3 -m ways JSON``) it
tries all of them with what Python and the image have, and writes what came of each to the workspace: the error's name,
or ``out`` where something got somewhere. The test reads the same list.
"""

from . import doors, files, kernel, network, processes, spaces
from .words import WAYS, Way

__all__ = ["WAYS", "Way", "doors", "files", "kernel", "network", "processes", "spaces"]
