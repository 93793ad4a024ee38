"""What agents are given: packages, MCP servers, skills, directories of the machine."""

from nanoclawd.cli.catalogue.common import GROUP, LIMIT, OF_GROUP
from nanoclawd.cli.spec import Column, Parameter, Resource, Verb

BUILD_SECONDS = 1900.0
"""A little longer than a build may take."""

_NAMES = (
    Parameter("apt", "a Debian package; may be given several times", "--apt", value="NAME", kind="list"),
    Parameter("npm", "an npm package, likewise", "--npm", value="NAME", kind="list"),
    Parameter("pip", "a Python package, likewise", "--pip", value="NAME", kind="list"),
)
_REASON = Parameter("reason", "why, for whoever is asked to allow it", "--reason", value="TEXT")
_SERVER_NAME = Parameter("name", "the server's name: what its tools' names begin with")
_SERVER = (
    GROUP,
    _SERVER_NAME,
    Parameter("program", "the program that is the server", "--program", value="PROGRAM"),
    Parameter("args", "an argument of the program; may be given several times", "--arg", value="TEXT", kind="list"),
    Parameter("env", "a variable of the program; may be given several times", "--env", value="NAME=VALUE", kind="list"),
    Parameter(
        "url", "where it is reached: an endpoint of the configuration file and a path", "--url", value="ENDPOINT/PATH"
    ),
    Parameter("instructions", "what the agent is told about it", "--instructions", value="TEXT", kind="file"),
)
_MOUNT_NAME = Parameter("name", "its name below /mnt")

PACKAGES = Resource(
    "packages",
    "packages in groups' own images",
    "package",
    "packages",
    (Column("group"), Column("manager"), Column("name")),
    (
        Verb("list", "list the packages", ("Packages.List",), (OF_GROUP, LIMIT), "many"),
        Verb(
            "add",
            "note packages for the next build of a group's image",
            ("Packages.Add",),
            (GROUP, *_NAMES),
            "many",
            changes=True,
            about="Nothing is built or restarted before: ncl groups restart GROUP --rebuild",
        ),
        Verb(
            "remove",
            "leave packages out of the next build of a group's image",
            ("Packages.Remove",),
            (GROUP, *_NAMES),
            "many",
            changes=True,
        ),
        Verb(
            "install",
            "build a group's image with more packages, and restart its running sessions",
            ("Packages.Install",),
            (GROUP, *_NAMES, _REASON),
            "many",
            changes=True,
            about="Where the build fails nothing has changed.",
            examples=(("ncl packages install main --apt ffmpeg", "give an agent a program"),),
            patience=BUILD_SECONDS,
        ),
    ),
    "no group has packages of its own",
    ids=(),
)

MCP = Resource(
    "mcp",
    "MCP servers of groups",
    "server",
    "servers",
    (Column("group"), Column("name"), Column("program"), Column("args", form="list"), Column("url")),
    (
        Verb("list", "list the MCP servers", ("Mcp.List",), (OF_GROUP, LIMIT), "many"),
        Verb(
            "add",
            "add an MCP server",
            ("Mcp.Add",),
            _SERVER,
            about="Running sessions keep what they started with until the group is restarted.",
            examples=(
                (
                    "ncl mcp add main files --program mcp-files --arg /workspace",
                    "give an agent a program as an MCP server",
                ),
            ),
        ),
        Verb("remove", "take an MCP server away", ("Mcp.Remove",), (GROUP, _SERVER_NAME), "nothing", done="removed"),
        Verb(
            "install",
            "add or replace an MCP server, and restart the group's running sessions",
            ("Mcp.Install",),
            (*_SERVER, _REASON),
        ),
    ),
    "no group has MCP servers of its own",
    ids=(),
)

SKILLS = Resource(
    "skills",
    "skills that agents share",
    "skill",
    "skills",
    (Column("name"), Column("source"), Column("description")),
    (
        Verb(
            "list",
            "list the skills",
            ("Skills.List",),
            (Parameter("group", "those that this agent group has", "--group", of="groups"), LIMIT),
            "many",
            about="Which of them a group has: ncl groups update GROUP --skills NAMES",
        ),
    ),
    "there are no skills",
    ids=("name",),
    called=("description",),
)

MOUNTS = Resource(
    "mounts",
    "directories of this machine that groups have",
    "mount",
    "mounts",
    (Column("group"), Column("name"), Column("path"), Column("writable", form="yes"), Column("problem")),
    (
        Verb("list", "list the directories", ("Mounts.List",), (OF_GROUP, LIMIT), "many"),
        Verb(
            "add",
            "give a group a directory",
            ("Mounts.Add",),
            (
                GROUP,
                Parameter("path", "the directory, absolute", of="files"),
                _MOUNT_NAME._replace(option="--name", help="its name below /mnt (default: its own)", value="NAME"),
                Parameter("writable", "to be written, too", "--writable", kind="flag"),
            ),
            about="The configuration file's mounts: says what may be given. Sessions have it from their next start on.",
        ),
        Verb("remove", "take a directory away", ("Mounts.Remove",), (GROUP, _MOUNT_NAME), "nothing", done="removed"),
    ),
    "no group has directories of this machine",
    ids=(),
)

RESOURCES = (PACKAGES, MCP, SKILLS, MOUNTS)
