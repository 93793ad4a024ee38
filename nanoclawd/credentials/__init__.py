"""``nanoclaw-credentials.service``: takes secrets, seals them for systemd, and has the service that needs one take it.

A program of its own, because only root may write to the credential store. It never gives a secret back.
"""
