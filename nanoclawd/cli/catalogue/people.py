"""People: who they are, what they may do, and what waits for their word."""

from nanoclawd.cli.catalogue.common import GROUP, LIMIT, OF_GROUP, OF_USER, USER
from nanoclawd.cli.spec import Column, Parameter, Resource, Verb

_NEW_USER = Parameter("user", "PLATFORM:HANDLE, e.g. telegram:4711 or terminal:alice", of="users")
_ROLE = Parameter("role", "owner, or admin", choices=("owner", "admin"))
_ROLE_GROUP = Parameter("group", "admin of this group only", "--group", of="groups")
_APPROVAL = Parameter("approval", "the approval's id or the beginning of it", of="approvals")
_QUESTION = Parameter("question", "the question's id or the beginning of it", of="questions")
_OPTION = Parameter("option", "an option's value, its words, or its number", of="options")
_LEFT = Column("expires_at", "expires", "ago")

USERS = Resource(
    "users",
    "people, as the channels vouch for them",
    "user",
    "users",
    (
        Column("id"),
        Column("display_name", "name"),
        Column("roles", form="list"),
        Column("member_of", "member of", "list"),
        Column("denied_in", "denied in", "list"),
    ),
    (
        Verb("list", "list the people", ("Users.List",), (LIMIT,), "many"),
        Verb("get", "show one person", ("Users.Get",), (USER,)),
        Verb(
            "create",
            "make somebody known who has written nothing yet",
            ("Users.Create",),
            (_NEW_USER, Parameter("display_name", "the name to show", "--name", value="TEXT")),
        ),
        Verb(
            "update",
            "change a person's shown name",
            ("Users.Update",),
            (
                USER,
                Parameter(
                    "display_name",
                    "the name to show; an empty one takes it away",
                    "--name",
                    value="TEXT",
                    need="required",
                ),
            ),
        ),
        Verb(
            "delete",
            "delete a person with all roles and memberships",
            ("Users.Delete",),
            (USER,),
            "nothing",
            done="deleted",
        ),
        Verb(
            "undeny",
            "forget that somebody said not to be asked about this person again",
            ("Users.Undeny",),
            (USER, Parameter("group", "in this group only", "--group", of="groups")),
            "words",
            says="{user}: {removed:denial} taken back",
        ),
    ),
    "nobody is known yet",
    called=("display_name",),
)

ROLES = Resource(
    "roles",
    "who may command and decide",
    "role",
    "roles",
    (
        Column("user"),
        Column("role"),
        Column("group"),
        Column("granted_by", "granted by"),
        Column("granted_at", "granted", "ago"),
    ),
    (
        Verb("list", "list the roles", ("Roles.List",), (OF_USER, OF_GROUP, LIMIT), "many"),
        Verb(
            "grant",
            "give somebody a role",
            ("Roles.Grant",),
            (_ROLE, _NEW_USER, _ROLE_GROUP),
            about="An owner may do everything. An admin without a group administers all groups.",
            examples=(("ncl roles grant admin telegram:4711 --group work", "make somebody the admin of one group"),),
        ),
        Verb(
            "revoke",
            "take a role away; the last owner keeps it",
            ("Roles.Revoke",),
            (_ROLE, USER, _ROLE_GROUP),
            "nothing",
            done="revoked",
        ),
        Verb(
            "claim",
            "become the owner, where there is none yet",
            ("Roles.Claim",),
            run="listings:claim",
            about="So does ncl setup. You are terminal: and your unix name.",
        ),
    ),
    "nobody has a role: approvals reach nobody; try: ncl roles claim",
    ids=(),
)

MEMBERS = Resource(
    "members",
    "people without a role who may talk to a group's agent",
    "member",
    "members",
    (Column("group"), Column("user"), Column("added_by", "added by"), Column("added_at", "added", "ago")),
    (
        Verb("list", "list the members", ("Members.List",), (OF_GROUP, OF_USER, LIMIT), "many"),
        Verb("add", "let somebody talk to a group's agent", ("Members.Add",), (GROUP, _NEW_USER)),
        Verb("remove", "end a membership", ("Members.Remove",), (GROUP, USER), "nothing", done="removed"),
    ),
    "no members",
    ids=(),
)

DMS = Resource(
    "dms",
    "direct chats in which people can be reached",
    "dm",
    "dms",
    (Column("user"), Column("chat", form="place"), Column("resolved_at", "known", "ago")),
    (Verb("list", "list the direct chats that are known", ("Users.Dms",), (OF_USER, LIMIT), "many"),),
    "no direct chats are known yet",
    ids=(),
)

APPROVALS = Resource(
    "approvals",
    "what waits for somebody's word before it happens",
    "approval",
    "approvals",
    (
        Column("id"),
        Column("action"),
        Column("title"),
        Column("group"),
        Column("user"),
        Column("status"),
        Column("card", "asked", "card"),
        _LEFT,
    ),
    (
        Verb(
            "list",
            "list what waits, the oldest first",
            ("Approvals.List",),
            (Parameter("all", "what was decided or has expired, too", "--all", kind="flag"), LIMIT),
            "many",
        ),
        Verb("get", "show one approval with its whole effect and its options", ("Approvals.Get",), (_APPROVAL,)),
        Verb(
            "approve",
            "allow it",
            ("Approvals.Decide", "Approvals.Get"),
            (_APPROVAL,),
            run="approvals:approve",
            about="Where a card offers several ways to allow it, this takes the one that allows least. Where that is"
            " not clear it names them: take one with ncl approvals decide.",
        ),
        Verb(
            "reject",
            "refuse it",
            ("Approvals.Decide", "Approvals.Get"),
            (_APPROVAL, Parameter("for_good", "and have nobody asked about it again", "--for-good", kind="flag")),
            run="approvals:reject",
        ),
        Verb(
            "decide",
            "take one of its options",
            ("Approvals.Decide",),
            (_APPROVAL, _OPTION),
            "words",
            says="{message}",
        ),
    ),
    "nothing waits for an approval",
    called=("title",),
)

QUESTIONS = Resource(
    "questions",
    "questions that agents have asked and nobody has answered yet",
    "question",
    "questions",
    (Column("id"), Column("group"), Column("chat", form="place"), Column("title"), _LEFT),
    (
        Verb("list", "list the open questions, the oldest first", ("Questions.List",), (OF_GROUP, LIMIT), "many"),
        Verb("get", "show one question with its options", ("Questions.Get",), (_QUESTION,)),
        Verb(
            "answer",
            "answer a question for the people who were asked",
            ("Questions.Answer",),
            (_QUESTION, _OPTION),
            "words",
            says="{message}",
        ),
    ),
    "no open questions",
    called=("title",),
)

RESOURCES = (USERS, ROLES, MEMBERS, DMS, APPROVALS, QUESTIONS)
