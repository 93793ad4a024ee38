"""Rules as operators write them: what is understood, what is refused, and what is stored."""

import apsw
import pytest

from nanoclaw_runner.contract.clock import parse
from nanoclawd.agents.egress import MAX_METHODS, Wish, read, read_rate, read_request
from nanoclawd.egress.rules import Asked, Rate
from nanoclawd.egress.targets import Target
from nanoclawd.errors import InvalidName, NotFound, Refused, TooLarge
from nanoclawd.store import agent_groups, egress
from nanoclawd.store.egress import NewRule
from nanoclawd.store.migrations import MIGRATIONS, apply
from unit.store.store_memory import fresh


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("example.org", "example.org", None, ""),
        ("Example.org.:8443", "example.org", 8443, ""),
        ("*.example.org", "*.example.org", None, ""),
        ("*.example.org:8080", "*.example.org", 8080, ""),
        ("*", "*", None, ""),
        ("[2606:4700::1111]:443", "2606:4700::1111", 443, ""),
        ("https://example.org", "example.org", 443, ""),
        ("https://example.org/", "example.org", 443, ""),
        ("http://example.org/api/", "example.org", 80, "/api/"),
        ("http://example.org:8080/api", "example.org", 8080, "/api"),
        ("HTTP://example.org", "example.org", 80, ""),
    ],
)
def test_hosts(text: str, host: str, port: int | None, path: str):
    assert read(Wish(text), "allow") == NewRule(None, "allow", host, port, path=path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a b", "ftp://a", "a:0", "a:99999", "a:x", "*.*.a", "u@a", "http://u:p@a/", "a/b", "http://a/b?c", "::1"),
        *("http://a/../b", "http://a/%2e%2e/b", "http://a/é", "http://a//b", "*.1.2.3.4", "0177.0.0.1", "http://"),
    ],
)
def test_what_is_no_host(text: str):
    with pytest.raises(InvalidName):
        read(Wish(text), "allow")


@pytest.mark.parametrize("wish", [Wish("https://*/b"), Wish("*:443", methods=("GET",))])
def test_a_rule_about_parts_of_the_https_of_every_host_is_refused(wish: Wish):
    with pytest.raises(Refused, match="of hosts that a rule names only"):
        read(wish, "deny")


@pytest.mark.parametrize("action", ["allow", "deny", "ask"])
def test_a_rule_may_speak_of_parts_of_the_https_of_named_hosts(action: str):
    assert read(Wish("https://a.example/b/", methods=("post",)), action) == NewRule(
        None, action, "a.example", 443, ("POST",), "/b/"
    )
    assert read(Wish("*.a.example", methods=("GET",)), action).port is None


def test_a_rule_about_parts_of_every_host_is_for_plain_http_where_it_names_no_port():
    assert read(Wish("*", methods=("get", "HEAD", "GET")), "allow").port == 80
    assert read(Wish("*", methods=("get", "HEAD", "GET")), "allow").methods == ("GET", "HEAD")


@pytest.mark.parametrize(
    "wish", [Wish("*", private=True), Wish("nas.lan", private=True), Wish("*.lan:80", private=True), Wish("127.0.0.1")]
)
def test_a_private_host_is_one_host_and_one_port(wish: Wish):
    with pytest.raises(Refused):
        read(wish, "allow")


def test_a_private_address_says_by_itself_that_it_is_one():
    assert read(Wish("192.168.1.5:8123"), "allow").private
    assert read(Wish("[::1]:80"), "allow").private
    assert not read(Wish("1.1.1.1:443"), "allow").private
    assert not read(Wish("192.168.1.5"), "deny").private
    assert read(Wish("192.168.1.5:8123"), "ask").private
    with pytest.raises(InvalidName):
        read(Wish("nas.lan:80", private=True), "deny")


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("30m", 1800), ("2h", 7200), ("7d", 604_800)])
def test_how_long(text: str, seconds: int):
    before = parse(read(Wish("a.example", lasting="1s"), "allow").expires_at or "")
    expires = parse(read(Wish("a.example", lasting=text), "allow").expires_at or "")
    assert seconds - 2 < (expires - before).total_seconds() < seconds + 5


@pytest.mark.parametrize("text", ["0h", "-1h", "1", "1w", "h", "1.5h", "9999999h", "1h ", "१h"])
def test_how_long_not(text: str):
    with pytest.raises(InvalidName):
        read(Wish("a.example", lasting=text), "allow")


def test_so_many_methods():
    methods = tuple(f"M{chr(65 + number)}" for number in range(MAX_METHODS + 1))
    assert read(Wish("a.example:80", methods=methods[1:]), "allow").methods == methods[1:]
    with pytest.raises(InvalidName, match="methods"):
        read(Wish("a.example:80", methods=methods), "allow")


@pytest.mark.parametrize("method", ["", "G T", "GET\n", "GÉT", "X" * 30, "get,post"])
def test_what_is_no_method(method: str):
    with pytest.raises(InvalidName):
        read(Wish("a.example:80", methods=(method,)), "allow")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("5/s", Rate(5, 1)), ("30/min", Rate(30, 60)), ("30/m", Rate(30, 60)), ("100/h", Rate(100, 3600))],
)
def test_how_often(text: str, rate: Rate):
    assert read(Wish("a.example", rate=text), "allow").rate == rate
    assert read_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["0/s", "5", "/s", "5/d", "5/ s", "-5/s", "1.5/s", "9999999/s", "५/s", "5/s\n"])
def test_how_often_not(text: str):
    with pytest.raises(InvalidName):
        read(Wish("a.example", rate=text), "allow")


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("500K", 500 * 1024), ("10M", 10 * 1024**2), ("2GiB", 2 * 1024**3), ("10MB", 10 * 1024**2)],
)
def test_how_much(text: str, size: int):
    found = read(Wish("a.example", max_body=text, max_download="1G"), "ask")
    assert (found.max_sent, found.max_received) == (size, 1024**3)


@pytest.mark.parametrize("text", ["0", "-1", "1T", "1 M", "M", "1.5M", "१K", "9999999999"])
def test_how_much_not(text: str):
    with pytest.raises(InvalidName):
        read(Wish("a.example", max_body=text), "allow")


def test_what_denies_has_no_bounds():
    with pytest.raises(InvalidName, match="are for rules that allow, or ask"):
        read(Wish("a.example", rate="1/s"), "deny")


@pytest.mark.parametrize(
    ("wish", "option"),
    [({"lasting": "soon"}, "--for"), ({"rate": "often"}, "--rate"), ({"max_download": "much"}, "--max-download")],
)
def test_what_can_not_be_read_is_told_by_its_option(wish: dict[str, str], option: str):
    with pytest.raises(InvalidName, match=rf"{option} takes? "):
        read(Wish("a.example", **wish), "allow")


def test_requests_to_try():
    assert read_request("example.org") == Asked(Target("example.org", 443), "GET", "/", "https")
    assert read_request("https://example.org:8443/a", "put") == Asked(Target("example.org", 8443), "PUT", "/a", "https")
    assert read_request("http://example.org/a?b", "post") == Asked(Target("example.org", 80), "POST", "/a?b")
    with pytest.raises(InvalidName):
        read_request("https://u:p@example.org/")


@pytest.fixture
def connection() -> apsw.Connection:
    made = fresh()
    agent_groups.create(made, "main")
    agent_groups.create(made, "other")
    return made


def _group(connection: apsw.Connection, folder: str) -> str:
    return agent_groups.by_folder(connection, folder).id


def test_a_rule_takes_the_place_of_one_for_the_same(connection: apsw.Connection):
    main = _group(connection, "main")
    first, before = egress.put(connection, NewRule(main, "allow", "a.example"), "root")
    assert before is None
    second, before = egress.put(connection, NewRule(main, "deny", "a.example"), "root")
    assert before == first.rule.id
    third, before = egress.put(connection, NewRule(None, "allow", "a.example"), "root")
    assert before is None
    assert [row.rule.id for row in egress.listed(connection)] == [second.rule.id, third.rule.id]
    assert third.rule.id > second.rule.id > first.rule.id, "a number is never given twice"


def test_lists_are_of_a_group_and_of_all(connection: apsw.Connection):
    main, other = _group(connection, "main"), _group(connection, "other")
    for group in (main, other, None):
        egress.put(connection, NewRule(group, "allow", "a.example", 80, ("GET", "PUT"), "/a"), "root")
    assert [row.rule.group for row in egress.listed(connection, "main")] == ["main", None]
    assert egress.listed(connection, "main")[0].rule.methods == ("GET", "PUT")
    agent_groups.delete(connection, other)
    assert [row.rule.group for row in egress.listed(connection)] == ["main", None]


def test_what_is_over_is_gone(connection: apsw.Connection):
    egress.put(connection, NewRule(None, "allow", "a.example", expires_at="2020-01-01T00:00:00.000Z"), "root")
    assert egress.listed(connection) == []
    egress.put(connection, NewRule(None, "allow", "b.example"), "root")
    assert connection.execute("SELECT count(*) FROM egress_rules").get == 1


def test_removing(connection: apsw.Connection):
    row, _ = egress.put(connection, NewRule(None, "allow", "a.example"), "root")
    assert egress.remove(connection, row.rule.id) == row
    with pytest.raises(NotFound):
        egress.remove(connection, row.rule.id)


def test_there_is_a_bound(connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(egress, "MAX_RULES", 2)
    for name in ("a", "b"):
        egress.put(connection, NewRule(None, "allow", name), "root")
    egress.put(connection, NewRule(None, "deny", "b"), "root")
    with pytest.raises(TooLarge):
        egress.put(connection, NewRule(None, "allow", "c"), "root")


@pytest.mark.parametrize(
    "rule",
    [
        NewRule(None, "permit", "a"),
        NewRule(None, "allow", ""),
        NewRule(None, "allow", "A"),
        NewRule(None, "allow", "a*"),
        NewRule(None, "allow", "*a"),
        NewRule(None, "allow", "a b"),
        NewRule(None, "allow", "a", 0),
        NewRule(None, "allow", "a", 70_000),
        NewRule(None, "allow", "*", 443, ("GET",)),
        NewRule(None, "allow", "*", None, (), "/x"),
        NewRule(None, "deny", "a", rate=Rate(1, 1)),
        NewRule(None, "deny", "a", max_sent=1),
        NewRule(None, "allow", "a", max_received=0),
        NewRule(None, "allow", "a", rate=Rate(1, 2)),  # type: ignore[arg-type]
        NewRule(None, "allow", "a", 80, (), "x"),
        NewRule(None, "allow", "a", 80, ("get",)),
        NewRule(None, "allow", "*", 80, private=True),
        NewRule(None, "allow", "a", None, private=True),
        NewRule("nobody", "allow", "a"),
    ],
    ids=range(19),
)
def test_the_schema_refuses_what_cannot_be(connection: apsw.Connection, rule: NewRule):
    with pytest.raises(apsw.ConstraintError):
        egress.put(connection, rule, "root")


def test_what_a_rule_bounds_is_kept(connection: apsw.Connection):
    row, _ = egress.put(connection, NewRule(None, "ask", "a.example", None, rate=Rate(3, 60), max_sent=5), "root")
    assert row.rule.action == "ask"
    assert (row.rule.rate, row.rule.max_sent, row.rule.max_received) == (Rate(3, 60), 5, None)
    row, _ = egress.put(connection, NewRule(None, "allow", "b.example", 443, ("GET",), "/a", max_received=9), "root")
    assert (row.rule.rate, row.rule.max_sent, row.rule.max_received) == (None, None, 9)


def test_rules_of_before_stay_and_their_numbers_go_on():
    """The table is made anew for rules about https; what operators have written stays as it is."""
    made = apsw.Connection(":memory:")
    names = [one.name for one in MIGRATIONS]
    apply(made, MIGRATIONS[: names.index("egress-inside")])
    made.execute(
        "INSERT INTO egress_rules (action, host, port, methods, path, private, created_by, created_at) VALUES"
        " ('allow', 'a.example', 80, 'GET', '/x', 1, 'root', 'then'), ('deny', '*', NULL, '', '', 0, 'root', 'then'),"
        " ('deny', 'gone.example', NULL, '', '', 0, 'root', 'then')"
    )
    made.execute("DELETE FROM egress_rules WHERE id = 3")
    apply(made)
    assert [(row.rule.id, row.rule.host, row.rule.private) for row in egress.listed(made)] == [
        (1, "a.example", True),
        (2, "*", False),
    ]
    row, _ = egress.put(made, NewRule(None, "allow", "a.example", 443, ("GET",)), "root")
    assert row.rule.id == 4
