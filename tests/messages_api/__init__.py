"""A scripted Messages API: checks what it is sent, and does what the last thing that a person said tells it."""
