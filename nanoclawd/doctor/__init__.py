"""Health checks of the host that need no daemon: one small class per check, with an id, a look and a fix."""
