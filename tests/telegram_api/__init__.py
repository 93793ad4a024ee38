"""A server of Telegram's Bot API, on loopback, for tests: what the public documentation says, enforced.

Written from https://core.telegram.org/bots/api and https://core.telegram.org/bots/faq. Beside each rule stands where
the
documentation states it, as ``[method or type, paragraph]``, mostly in its words. Where it is silent (the wording of
errors, which of two pollers is ended), the rule says "observed": that is how the service is known to behave. It was
never
compared with the service itself.
"""
