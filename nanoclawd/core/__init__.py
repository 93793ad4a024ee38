"""The daemon put together: its parts, their order at start and stop, and what the control socket serves of them."""
