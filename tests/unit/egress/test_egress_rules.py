"""Which rule decides. W-69: where none does, the answer is no."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.egress.rules import Asked, Rule, decide, fits_host, needs_inside, parse_pattern
from nanoclawd.egress.targets import BadTarget, Target

NOW = 1000.0


def tunnel(host: str, port: int = 443) -> Asked:
    return Asked(Target(host, port))


def plain(host: str, path: str = "/", method: str = "GET", port: int = 80) -> Asked:
    return Asked(Target(host, port), method, path)


def https(host: str, path: str = "/", method: str = "GET") -> Asked:
    return Asked(Target(host, 443), method, path, "https")


def rule(number: int, action: str, host: str, **more: object) -> Rule:
    return Rule(number, action, host, **more)  # type: ignore[arg-type]


def decider(rules: list[Rule], asked: Asked, group: str = "main") -> tuple[bool, int]:
    found = decide(rules, group, asked, NOW)
    return found.allowed, found.rule.id if found.rule else 0


def test_what_no_rule_allows_is_denied():
    assert decider([], tunnel("example.org")) == (False, 0)
    assert decide([], "main", tunnel("example.org"), NOW).reason == "no rule allows it"


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("example.org", "example.org", True),
        ("example.org", "a.example.org", False),
        ("*.example.org", "a.example.org", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "badexample.org", False),
        ("*", "anything.example", True),
        ("*", "192.0.2.1", False),
        ("*", "2001:db8::1", False),
        ("*.1", "192.0.2.1", False),
        ("192.0.2.1", "192.0.2.1", True),
    ],
)
def test_patterns(pattern: str, host: str, fits: bool):
    assert fits_host(pattern, host) is fits


@pytest.mark.parametrize(
    "text", ["*.", "**", "*a", "a.*", "*.*.a", "*.1.2.3.4", "*.[::1]", "", "http://a", "a/b", "a:1"]
)
def test_bad_patterns(text: str):
    with pytest.raises(BadTarget):
        parse_pattern(text)


def test_patterns_come_in_one_form():
    assert parse_pattern("*.Example.ORG.") == "*.example.org"
    assert parse_pattern("[2001:DB8::1]") == "2001:db8::1"
    assert parse_pattern("*") == "*"


def test_the_more_specific_rule_decides():
    rules = [
        rule(1, "allow", "*"),
        rule(2, "deny", "*.example.org"),
        rule(3, "allow", "*.a.example.org"),
        rule(4, "deny", "x.a.example.org"),
        rule(5, "allow", "x.a.example.org", group="main"),
        rule(6, "deny", "x.a.example.org", group="main", port=443),
    ]
    assert decider(rules, tunnel("other.net")) == (True, 1)
    assert decider(rules, tunnel("b.example.org")) == (False, 2)
    assert decider(rules, tunnel("y.a.example.org")) == (True, 3)
    assert decider(rules, tunnel("x.a.example.org"), "other") == (False, 4)
    assert decider(rules, tunnel("x.a.example.org", 80)) == (True, 5)
    assert decider(rules, tunnel("x.a.example.org")) == (False, 6)


@pytest.mark.parametrize(
    ("closer", "wider"),
    [
        ({"port": 443}, {}),
        ({"path": "/a/b"}, {"path": "/a"}),
        ({"path": "/a"}, {"methods": ("GET",)}),
        ({"methods": ("GET",)}, {}),
        ({"group": "main"}, {"port": 443, "path": "/a/b", "methods": ("GET",)}),
        ({"port": 443}, {"path": "/a/b", "methods": ("GET",)}),
    ],
)
def test_a_closer_rule_allows_what_a_wider_one_denies(closer: dict[str, object], wider: dict[str, object]):
    rules = [rule(1, "deny", "a.example", **wider), rule(2, "allow", "a.example", **closer)]
    assert decider(rules, https("a.example", "/a/b")) == (True, 2)
    assert decider(rules[::-1], https("a.example", "/a/b")) == (True, 2)


def test_among_equals_deny_wins():
    rules = [rule(1, "allow", "a.example"), rule(2, "deny", "a.example"), rule(3, "allow", "a.example")]
    assert decider(rules, tunnel("a.example")) == (False, 2)


def test_a_rule_that_asks_allows_nothing_by_itself():
    found = decide([rule(1, "allow", "*"), rule(2, "ask", "a.example")], "main", tunnel("a.example"), NOW)
    assert (found.allowed, found.asks, found.rule and found.rule.id) == (False, True, 2)
    allowed = found.approved("card-1", NOW + 60)
    assert (allowed.allowed, allowed.asks, allowed.until) == (True, False, NOW + 60)


def test_an_approval_lasts_no_longer_than_its_rule():
    found = decide([rule(1, "ask", "a.example", until=NOW + 10)], "main", tunnel("a.example"), NOW)
    assert found.approved("card-1", NOW + 60).until == NOW + 10
    assert found.approved("card-1", None).until == NOW + 10


def test_among_equals_what_asks_comes_before_what_allows_and_after_what_denies():
    rules = [rule(1, "allow", "a.example", methods=("GET", "POST")), rule(2, "ask", "a.example", methods=("POST",))]
    found = decide(rules, "main", https("a.example", "/", "POST"), NOW)
    assert found.asks
    assert not decide(rules, "main", https("a.example", "/", "GET"), NOW).asks
    rules.append(rule(3, "deny", "a.example", methods=("POST", "PUT")))
    assert decider(rules, https("a.example", "/", "POST")) == (False, 3)


@pytest.mark.parametrize(
    ("rules", "inside"),
    [
        ([], False),
        ([rule(1, "allow", "a.example")], False),
        ([rule(1, "deny", "a.example")], False),
        ([rule(1, "ask", "a.example")], True),
        ([rule(1, "ask", "*.example")], True),
        # Of every host nobody looks inside: who is asked sees host and port.
        ([rule(1, "ask", "*")], False),
        ([rule(1, "allow", "a.example", methods=("GET",))], True),
        ([rule(1, "allow", "a.example", port=443, path="/x")], True),
        ([rule(1, "allow", "a.example", port=80, path="/x")], False),
        ([rule(1, "deny", "*.example", path="/x")], True),
        # Another rule decides whatever is asked for.
        ([rule(1, "ask", "*.example"), rule(2, "allow", "a.example")], False),
        ([rule(1, "allow", "*.example", path="/x"), rule(2, "deny", "a.example")], False),
        ([rule(1, "deny", "*.example"), rule(2, "allow", "a.example", path="/x")], True),
        ([rule(1, "ask", "a.example", group="other")], False),
        ([rule(1, "ask", "a.example", until=NOW)], False),
    ],
)
def test_which_https_hosts_are_looked_into(rules: list[Rule], inside: bool):
    assert needs_inside(rules, "main", Target("a.example", 443), NOW) is inside
    assert not needs_inside(rules, "main", Target("a.example", 80), NOW)


def test_a_port_of_its_own_is_looked_into_only_where_a_rule_speaks_of_parts():
    """What is spoken at it may be anything, SSH for one, whose server speaks first."""
    assert not needs_inside([rule(1, "ask", "a.example", port=22)], "main", Target("a.example", 22), NOW)
    assert needs_inside([rule(1, "ask", "a.example", port=8443, path="/x")], "main", Target("a.example", 8443), NOW)


def test_ports():
    rules = [rule(1, "allow", "a.example"), rule(2, "allow", "b.example", port=8443)]
    assert [decider(rules, tunnel("a.example", port))[0] for port in (80, 443, 22, 8443)] == [True, True, False, False]
    assert [decider(rules, tunnel("b.example", port))[0] for port in (80, 443, 8443)] == [False, False, True]


def test_a_rule_is_over_at_its_time():
    assert decider([rule(1, "allow", "a.example", until=NOW)], tunnel("a.example")) == (False, 0)
    assert decider([rule(1, "allow", "a.example", until=NOW + 1)], tunnel("a.example")) == (True, 1)


def test_methods_and_paths_of_plain_http():
    rules = [
        rule(1, "allow", "a.example", port=80, methods=("GET", "HEAD"), path="/public/"),
        rule(2, "deny", "a.example", port=80, path="/public/not"),
    ]
    assert decider(rules, plain("a.example", "/public/x?y=1")) == (True, 1)
    assert decider(rules, plain("a.example", "/public/x", "POST")) == (False, 0)
    assert decider(rules, plain("a.example", "/private")) == (False, 0)
    assert decider(rules, plain("a.example", "/public/not-this")) == (False, 2)
    assert decider(rules, plain("a.example", "/%70ublic/x")) == (True, 1)


@pytest.mark.parametrize(
    "path", ["/public/../private", "/public/%2e%2e/private", "/public/..%2fprivate", "/public//../x", "/public/%5c.."]
)
def test_a_path_that_may_be_another_one_is_denied(path: str):
    rules = [rule(1, "allow", "a.example", port=80, path="/public/")]
    assert not decider(rules, plain("a.example", path))[0]
    rules = [rule(1, "allow", "a.example"), rule(2, "deny", "a.example", port=80, path="/private")]
    assert not decider(rules, plain("a.example", path))[0]


@pytest.mark.parametrize(
    "path",
    [
        *("/public/..;/private", "/public/..;a=b/private", "/public/%252e%252e/private", "/public/%2e%2e%3b/private"),
        *("/public/;/../private", "/public/.;/..;/private", "/public/%c0%ae%c0%ae/private"),
    ],
)
def test_a_path_that_some_servers_climb_by_is_not_allowed(path: str):
    """Servers of Java forget what is behind a semicolon, then go up; others unpack twice."""
    rules = [rule(1, "allow", "a.example", port=80, path="/public/")]
    assert not decider(rules, plain("a.example", path))[0]
    assert decider(rules, plain("a.example", "/public/a;v=1/b"))[0]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/private/x",
            "/PRIVATE/x",
            "/private;a/x",
            "/priv%61te/x",
            "/v1/x:delete",
            "/v1/x%3Adelete",
            "/v1/x%3adelete",
        ),
        *("/;a/private/x", "/a;/../private/x", "/private%3bv/x", "/%2570rivate/x", "/v1;b/x:delete", "/v1/X:Delete"),
    ],
)
def test_a_path_that_is_denied_has_no_other_spelling(path: str):
    rules = [rule(1, "allow", "a.example"), rule(2, "deny", "a.example", port=80, path="/private/")]
    rules.append(rule(3, "deny", "a.example", port=80, path="/v1/x:delete"))
    assert not decider(rules, plain("a.example", path))[0]


def test_a_tunnel_gets_round_no_rule_about_paths():
    rules = [rule(1, "allow", "a.example"), rule(2, "deny", "a.example", port=80, path="/private")]
    assert decider(rules, plain("a.example", "/x")) == (True, 1)
    assert decider(rules, tunnel("a.example", 80)) == (False, 2)
    assert decider(rules, tunnel("a.example", 443)) == (True, 1)
    assert decider([rule(1, "allow", "a.example", port=80, path="/x")], tunnel("a.example", 80)) == (False, 0)


_hosts = st.sampled_from(["*", "*.example", "*.a.example", "a.example", "b.a.example", "192.0.2.1"])
_rules = st.lists(
    st.builds(
        Rule,
        id=st.integers(1, 9),
        action=st.sampled_from(["allow", "deny", "ask"]),
        host=_hosts,
        group=st.sampled_from([None, "main", "other"]),
        port=st.sampled_from([None, 80, 443]),
        methods=st.sampled_from([(), ("GET",), ("POST",)]),
        path=st.sampled_from(["", "/a", "/a/b"]),
        until=st.sampled_from([None, NOW - 1, NOW + 1]),
    ),
    max_size=8,
)
_asked = st.builds(
    Asked,
    st.builds(
        Target, st.sampled_from(["a.example", "b.a.example", "c.example", "192.0.2.1"]), st.sampled_from([80, 443])
    ),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/", "/a", "/a/b/c", "/a/../b", "/x?/a"]),
) | st.builds(Asked, st.builds(Target, st.sampled_from(["a.example", "c.example"]), st.sampled_from([80, 443])))


@given(_rules, _asked)
def test_another_deny_never_allows_and_order_means_nothing(rules: list[Rule], asked: Asked):
    found = decide(rules, "main", asked, NOW)
    assert decide(rules[::-1], "main", asked, NOW).allowed == found.allowed
    assert found.allowed is (found.rule is not None and found.rule.action == "allow")
    if found.rule is not None:
        assert found.rule.group in (None, "main")
    more = [*rules, Rule(0, "deny", asked.target.host, group="main", port=asked.target.port)]
    if not found.allowed:
        assert not decide(more, "main", asked, NOW).allowed
    others = [one for one in rules if one.group != "other"]
    assert decide(others, "main", asked, NOW) == found


@given(
    _rules, st.sampled_from(["a.example", "b.a.example", "c.example", "192.0.2.1"]), st.sampled_from(["/", "/a/b/c"])
)
def test_where_nobody_looks_inside_nothing_is_missed(rules: list[Rule], host: str, path: str):
    """A tunnel gets exactly what each request in it would get, where no rule has it looked into."""
    # As operators can write them: about parts of every host only of plain http.
    rules = [one for one in rules if not (one.is_narrow and one.host == "*" and one.port != 80)]
    if needs_inside(rules, "main", Target(host, 443), NOW):
        return
    found = decide(rules, "main", tunnel(host), NOW)
    for method in ("GET", "POST"):
        assert decide(rules, "main", https(host, path, method), NOW) == found


def _climbed(path: str) -> str:
    """What a server makes of a path: double slashes are one, dots go up."""
    found: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del found[-1:]
        elif segment not in ("", "."):
            found.append(segment)
    end = "/" if path.endswith(("/", "/.", "/..")) and found else ""
    return "/" + "/".join(found) + end


SERVERS = {
    "as it is": _climbed,
    "unpacked": lambda path: _climbed(unquote(path)),
    "Tomcat": lambda path: _climbed(unquote(re.sub(";[^/]*", "", path))),
    "Jetty": lambda path: _climbed(re.sub(";[^/]*", "", unquote(path))),
    "behind a proxy": lambda path: _climbed(unquote(_climbed(unquote(path)))),
    "IIS": lambda path: _climbed(unquote(path).replace("\\", "/")),
    "old": lambda path: _climbed(re.sub("%c0%a([ef])", lambda found: "./"[found[1] == "f"], path, flags=re.IGNORECASE)),
}
PIECES = st.sampled_from(
    (
        *("/", "/", ".", "..", ";", "%2e", "%2E", "%2f", "%5c", "%25", "%252e", "2e", "%3b", "%c0%ae", "%c0%af", "x"),
        *("public", "private", "priv%61te", "/public/", "/private/", "%2", "%00", "%70"),
    )
)


@pytest.mark.parametrize("server", SERVERS)
@given(path=st.lists(PIECES, max_size=10).map(lambda pieces: "/" + "".join(pieces)))
def test_however_a_server_reads_a_path_it_is_the_one_that_was_judged(server: str, path: str):
    """What goes on to a host is in what was allowed, and not in what was denied, by the host's own reading."""
    read = SERVERS[server](path)
    if decider([rule(1, "allow", "a.example", port=80, path="/public/")], plain("a.example", path))[0]:
        assert read.startswith("/public/")
    rules = [rule(1, "allow", "a.example"), rule(2, "deny", "a.example", port=80, path="/private/")]
    if decider(rules, plain("a.example", path))[0]:
        assert not read.startswith("/private/")
