"""Time: one timer for everything that is due, and the work that goes on behind whoever began it."""
