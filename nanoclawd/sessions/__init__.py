"""Sessions: their directories and databases, and the state machine that keeps one container per session."""
