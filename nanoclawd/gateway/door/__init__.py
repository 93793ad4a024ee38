"""The door: TLS connections of agents that are looked into, so that secrets can be put in and rules can see paths."""
