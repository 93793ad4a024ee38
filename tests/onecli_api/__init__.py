"""A OneCLI on loopback, for tests: what its published client asks (@onecli-sh/sdk 2.2.1), and a small proxy behind it.

Each route names the call of the client that it follows, as ``[class.method]``; what the client says of an answer (its
types, its README, what it tolerates) is enforced here: Bearer keys, 409 on an agent that is there, 404 on one that is
not, identifiers of 1 to 50 characters, polls that are held for 30 seconds at most, 410 on a decision that comes late.
Where the client is silent, the rule says "observed": that is what OneCLI's own sources do. It was never compared with
the service itself.

The proxy is OneCLI's in form: CONNECT and absolute form with ``Proxy-Authorization: Basic x:TOKEN`` (from the container
configuration's HTTPS_PROXY), 407 on a bad token, TLS intercepted by an authority of its own, a secret put in.
"""
