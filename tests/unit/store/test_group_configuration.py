"""What a group is given, as the database keeps it."""

from pathlib import Path

import apsw
import pytest

from nanoclaw_runner.contract.agent_config import McpServer
from nanoclawd.errors import AlreadyExists, InvalidName, NotFound, TooLarge
from nanoclawd.store import agent_groups, group_configuration, migrations
from nanoclawd.store.group_configuration import GroupConfiguration, Mount
from nanoclawd.store.package_names import MAX_REQUESTED, check, check_requested

GOOD = [
    ("apt", "jq"), ("apt", "g++"), ("apt", "libstdc++6"), ("apt", "python3.13-venv"), ("npm", "left-pad"),
    ("npm", "@scope/name.js"), ("npm", "under_score"), ("pip", "Django"), ("pip", "ruamel.yaml"), ("pip", "x"),
]  # fmt: skip
BAD = [
    ("apt", "jq; reboot"), ("apt", "-y"), ("apt", "--purge"), ("apt", "jq-"), ("apt", "JQ"), ("apt", "jq=1.7"),
    ("apt", "./x.deb"), ("apt", "/tmp/x"), ("apt", "a\nRUN x"), ("apt", "$(id)"), ("apt", "a b"), ("apt", "x"),
    ("apt", "jq/unstable"), ("apt", "jq\n"), ("apt", "\uff4aq"), ("npm", "--global"), ("npm", "a/b"), ("npm", "@a"),
    ("npm", "@a/b/c"), ("npm", "git+https://x"), ("npm", "a@1"), ("npm", "../x"), ("npm", "a;b"), ("npm", "a@b/c"),
    ("npm", "@/a"), ("npm", "a\\\n"), ("pip", "-r"), ("pip", "x[extra]"), ("pip", "x==1"), ("pip", "x;y"),
    ("pip", "https://x"), ("pip", "x."), ("pip", "../x"), ("pip", ""), ("pip", "x" * 101), ("gem", "rails"),
]  # fmt: skip


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    made = apsw.Connection(str(tmp_path / "central.db"))
    made.execute("PRAGMA foreign_keys = ON")
    migrations.apply(made)
    return made


@pytest.mark.parametrize(("manager", "name"), GOOD)
def test_names_that_can_be_installed(connection: apsw.Connection, manager: str, name: str):
    group = agent_groups.create(connection, "main")
    assert check(manager, name) == name
    assert group_configuration.add_packages(connection, group.id, {manager: [name]}) == [name]
    assert group_configuration.load(connection, group.id).packages == {manager: (name,)}


@pytest.mark.parametrize(("manager", "name"), BAD)
def test_names_that_no_path_lets_in(connection: apsw.Connection, manager: str, name: str):
    """W-57: refused by the function that all callers use; most also by the table, whoever writes to it."""
    group = agent_groups.create(connection, "main")
    with pytest.raises(InvalidName):
        check(manager, name)
    with pytest.raises(InvalidName):
        group_configuration.add_packages(connection, group.id, {manager: [name]})
    assert group_configuration.load(connection, group.id).packages == {}
    harmless = {("apt", "x"), ("npm", "a/b"), ("npm", "@a"), ("npm", "@/a"), ("npm", "../x")}
    if (manager, name) not in harmless:
        with pytest.raises(apsw.ConstraintError):
            connection.execute(
                "INSERT INTO group_packages (agent_group_id, manager, name, position) VALUES (?, ?, ?, 0)",
                (group.id, manager, name),
            )


def test_requests_are_bounded_and_say_something():
    assert check_requested({"apt": ("jq", "jq"), "pip": ()}) == {"apt": ("jq",), "pip": ()}
    with pytest.raises(InvalidName, match="no package is named"):
        check_requested({"apt": ()})
    with pytest.raises(TooLarge):
        check_requested({"apt": tuple(f"p{number}" for number in range(MAX_REQUESTED + 1))})


def test_all_of_it_is_kept_in_order_and_goes_with_its_group(connection: apsw.Connection):
    group = agent_groups.create(connection, "main")
    assert group_configuration.load(connection, group.id) == group_configuration.DEFAULT
    settings = GroupConfiguration(effort="high", max_messages=3, skills=("a", "b"))
    group_configuration.set_settings(connection, group.id, settings)
    group_configuration.set_image(connection, group.id, "agent", "0123456789ab")
    group_configuration.add_packages(connection, group.id, {"apt": ["zip", "ack"], "pip": ["rich"]})
    assert group_configuration.add_packages(connection, group.id, {"apt": ["ack", "bc"]}) == ["bc"]
    server = McpServer("files", "mcp-files", ("-v",), {"A": "1"}, instructions="for files")
    group_configuration.put_server(connection, group.id, server)
    group_configuration.add_mount(connection, group.id, Mount("docs", "/srv/docs", writable=True))
    found = group_configuration.load(connection, group.id)
    assert found.packages == {"apt": ("zip", "ack", "bc"), "pip": ("rich",)}
    assert (found.effort, found.max_messages, found.skills) == ("high", 3, ("a", "b"))
    assert (found.image_stage, found.image_tag) == ("agent", "0123456789ab")
    assert found.mcp_servers == (server,)
    assert found.mounts == (Mount("docs", "/srv/docs", writable=True),)
    assert group_configuration.every(connection) == {group.id: found}
    with pytest.raises(AlreadyExists):
        group_configuration.put_server(connection, group.id, server)
    with pytest.raises(AlreadyExists):
        group_configuration.add_mount(connection, group.id, Mount("docs", "/srv/other"))
    group_configuration.put_server(connection, group.id, McpServer("files", url="files/mcp"), replacing=True)
    assert group_configuration.load(connection, group.id).mcp_servers[0].url == "files/mcp"
    with pytest.raises(NotFound):
        group_configuration.remove_packages(connection, group.id, {"apt": ["zip", "nothing"]})
    assert group_configuration.load(connection, group.id).packages == found.packages
    group_configuration.remove_packages(connection, group.id, {"apt": ["zip"]})
    group_configuration.remove_server(connection, group.id, "files")
    group_configuration.remove_mount(connection, group.id, "docs")
    for remove in (group_configuration.remove_server, group_configuration.remove_mount):
        with pytest.raises(NotFound):
            remove(connection, group.id, "files")
    agent_groups.delete(connection, group.id)
    for table in ("group_settings", "group_packages", "group_mcp_servers", "group_mounts"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0
