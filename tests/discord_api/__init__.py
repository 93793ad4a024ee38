"""A small Discord on loopback: gateway, REST API, CDN, and the people who use them.

Written from the public developer documentation (https://docs.discord.com/developers) as its author knows it, not from
the service itself: beside each rule stands the documentation's statement that it is made of. Numbers that the
documentation leaves open (rate limits: "should not be hard coded into your application") are settings.
"""
