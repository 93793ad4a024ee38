"""The values that the control socket carries.

The dataclasses are the wire format too: a field here is the field of the same name in ``interfaces/*.varlink``, and a
test compares the two. Times are ISO-8601 text (:mod:`nanoclaw_runner.contract.clock`), sizes bytes, durations seconds.
"""

from nanoclawd.control.values.appliance import ApplianceStatus, BusySession, Component, ComponentState, Limits
from nanoclawd.control.values.approvals import Approval, ApprovalState, CardState, Option, Question
from nanoclawd.control.values.caller import Caller, Peer
from nanoclawd.control.values.channels import (
    Channel,
    ChannelOrigin,
    ChannelQuestion,
    ChannelSetup,
    ChannelState,
    Conversation,
    Pairing,
    PairingState,
    SetAsideEvent,
)
from nanoclawd.control.values.chat import (
    ChatEvent,
    ChatFile,
    EventType,
    FilePart,
    Sent,
    TurnState,
    Uploaded,
    UploadedFile,
)
from nanoclawd.control.values.chats import Chat, ChatSettings, Destination, DestinationType, Wiring, WiringSettings
from nanoclawd.control.values.credentials import Credential, Taken
from nanoclawd.control.values.egress import EgressRule, EgressTest, EgressWish
from nanoclawd.control.values.groups import Group, GroupSettings
from nanoclawd.control.values.hooks import Hook, HookSettings, HookWithSecret
from nanoclawd.control.values.images import BuildEvent, BuildProgress, Image, ImageState
from nanoclawd.control.values.outfit import McpServer, Mount, Package, Skill
from nanoclawd.control.values.peers import PeerLink
from nanoclawd.control.values.people import Dm, Member, Role, User
from nanoclawd.control.values.requests import HeldRequest, RequestAnswer, RequestOutcome
from nanoclawd.control.values.routing import Decision, DroppedSender, Hypothesis, Step, WiringDecision
from nanoclawd.control.values.secrets import ClosedHost, SecretBinding, SecretSettings, SecretTrial
from nanoclawd.control.values.sessions import Session, SessionState
from nanoclawd.control.values.tasks import RunStatus, Task, TaskPlace, TaskRun, TaskSettings, TaskStatus
from nanoclawd.control.values.usage import UsageBy, UsageSum

__all__ = [
    "ApplianceStatus",
    "Approval",
    "ApprovalState",
    "BuildEvent",
    "BuildProgress",
    "BusySession",
    "Caller",
    "CardState",
    "Channel",
    "ChannelOrigin",
    "ChannelQuestion",
    "ChannelSetup",
    "ChannelState",
    "Chat",
    "ChatEvent",
    "ChatFile",
    "ChatSettings",
    "ClosedHost",
    "Component",
    "ComponentState",
    "Conversation",
    "Credential",
    "Decision",
    "Destination",
    "DestinationType",
    "Dm",
    "DroppedSender",
    "EgressRule",
    "EgressTest",
    "EgressWish",
    "EventType",
    "FilePart",
    "Group",
    "GroupSettings",
    "HeldRequest",
    "Hook",
    "HookSettings",
    "HookWithSecret",
    "Hypothesis",
    "Image",
    "ImageState",
    "Limits",
    "McpServer",
    "Member",
    "Mount",
    "Option",
    "Package",
    "Pairing",
    "PairingState",
    "Peer",
    "PeerLink",
    "Question",
    "RequestAnswer",
    "RequestOutcome",
    "Role",
    "RunStatus",
    "SecretBinding",
    "SecretSettings",
    "SecretTrial",
    "Sent",
    "Session",
    "SessionState",
    "SetAsideEvent",
    "Skill",
    "Step",
    "Taken",
    "Task",
    "TaskPlace",
    "TaskRun",
    "TaskSettings",
    "TaskStatus",
    "TurnState",
    "Uploaded",
    "UploadedFile",
    "UsageBy",
    "UsageSum",
    "User",
    "Wiring",
    "WiringDecision",
    "WiringSettings",
]
