"""The agents' only way out: a streaming reverse proxy to the model endpoints, which knows its callers by their uid.

It runs under a user of its own and alone holds the API keys. A container has no network; it sees this service's unix
socket and, through it, the endpoints that its agent group may use.
"""
