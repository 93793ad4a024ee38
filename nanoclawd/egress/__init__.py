"""Where agents may go: hosts and addresses in one form, and which rule decides. Used by the daemon and the gateway."""
