"""Time: one timer for everything that is due."""
