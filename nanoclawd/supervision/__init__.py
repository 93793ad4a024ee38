"""systemd's side of a session: the user manager's bus, quadlets, doorbells, and who may be awake."""
