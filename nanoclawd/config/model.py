"""What the configuration file says, as frozen structs whose defaults are those of a file that is not there."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from nanoclaw_runner.contract.agent_config import (
    DEFAULT_CONTEXT_TOKENS,
    DEFAULT_MAX_TOOL_CALLS,
    DEFAULT_QUIET_SECONDS,
)
from nanoclawd.config.values import (
    MIB,
    AbsolutePath,
    Api,
    ApiPath,
    Auth,
    Awake,
    BasePath,
    BodySize,
    Budget,
    ChannelName,
    Connections,
    ContextTokens,
    CredentialName,
    DailyCost,
    DailyTokens,
    DiskSize,
    EndpointName,
    GroupName,
    Hours,
    ImageName,
    Level,
    MemorySize,
    ModelSpec,
    NetworkName,
    PeerHops,
    PeerRate,
    Policy,
    ProjectId,
    PromptStyle,
    Seconds,
    SecretMode,
    SocketPath,
    Switch,
    Tasks,
    ToolCalls,
    Url,
    WatchdogSeconds,
    Word,
    default_awake,
    half_of_memory,
)
from nanoclawd.errors import InvalidName, NotFound

DEFAULT_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("chat/completions", "completions", "embeddings", "models", "responses", "messages"),
    "anthropic": ("v1/messages", "v1/messages/count_tokens", "v1/models"),
    "mcp": ("mcp",),
}
"""By an endpoint's api. Anthropic's clients are told an address without the version."""


RESERVED_CHANNELS: Final = {
    "terminal": "the terminal is always there; another name is needed",
    "agent": "agents write to each other under this name; another one is needed",
}
"""Names that no configured channel can have, with what is said about each."""


class ModelChoice(NamedTuple):
    """One model: the endpoint's name in the configuration, and the model's name at that endpoint."""

    endpoint: str
    model: str


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a model or an MCP server is served: on a unix socket or at a URL, exactly one of them.

    Attributes:
        socket: path of the server's unix socket.
        base: what precedes the API's paths on the socket.
        url: the API's address, what precedes its paths included.
        credential: name of the API key among the gateway's credentials; the gateway alone sees the key.
        api: whose API it speaks.
        auth: how the key is sent; None: as the API does. ``oauth`` is a token that ``claude setup-token`` has made.
        paths: what an agent may ask for below the address, exactly these; empty: the API's.
        prompt: how its models are told messages: as elements with ids, names and times, or as bare words.
        tools: whether its models are offered tools.
        context_tokens: what its models can hold.
    """

    socket: SocketPath | None = None
    base: BasePath = ""
    url: Url | None = None
    credential: CredentialName | None = None
    api: Api = "openai"
    auth: Auth | None = None
    paths: tuple[ApiPath, ...] = ()
    prompt: PromptStyle = "addressed"
    tools: Switch = True
    context_tokens: ContextTokens = DEFAULT_CONTEXT_TOKENS

    def allowed_paths(self) -> tuple[str, ...]:
        """Return what an agent may ask for."""
        return self.paths or DEFAULT_PATHS[self.api]

    def scheme(self) -> Literal["bearer", "x-api-key", "oauth"]:
        """Return how the key is sent."""
        return self.auth or ("x-api-key" if self.api == "anthropic" else "bearer")

    def address(self) -> str:
        """Return what precedes an API path; on a unix socket the host's name means nothing."""
        return self.url if self.url is not None else f"http://localhost{self.base}"

    def problem(self) -> str | None:
        """Return what is wrong between the keys, or None."""
        if (self.socket is None) == (self.url is None):
            return "exactly one of socket and url is needed"
        if self.auth is not None and self.credential is None:
            return "auth says how a credential is sent, and there is none"
        if self.auth == "oauth" and self.api != "anthropic":
            return "auth: oauth is for api: anthropic"
        if self.base and self.socket is None:
            return "base belongs to socket; with url it is a part of the address"
        return None


EMBEDDED = Endpoint(
    socket="/run/nanoclaw-model/model.sock", base="/v1", prompt="plain", tools=False, context_tokens=8192
)
"""The local model that comes with the package; there under the name ``embedded`` unless the file says otherwise."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the appliance may use of the machine. Sizes in bytes.

    Attributes:
        max_awake: sessions awake at once; others wait in a queue.
        memory_budget: memory of all awake sessions together.
        session_memory: memory of one session's container.
        session_tasks: processes and threads of one session's container.
        min_free_disk: below this much free disk no message is accepted.
        tool_calls: tool calls of one turn.
        peer_hops: messages from agent to agent that may follow a message of a person or task (W-23).
        peer_rate: messages of two agents' sessions to each other in ten minutes.
        daily_tokens: tokens of one agent group in a day of the owner's zone; 0: no bound. A group may have its own.
        daily_cost: the same in dollars, as providers tell their prices.
        task_scripts: whether the scripts of tasks are run.
    """

    max_awake: Awake = msgspec.field(default_factory=default_awake)
    memory_budget: Budget = msgspec.field(default_factory=half_of_memory)
    session_memory: MemorySize = 512 * MIB
    session_tasks: Tasks = 256
    min_free_disk: DiskSize = 500 * MIB
    tool_calls: ToolCalls = DEFAULT_MAX_TOOL_CALLS
    peer_hops: PeerHops = 12
    peer_rate: PeerRate = 30
    daily_tokens: DailyTokens = 0
    daily_cost: DailyCost = 0.0
    task_scripts: Switch = True


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds in time, in seconds.

    Attributes:
        idle: a session without work sleeps after this.
        turn: a turn ends after this, whatever its container says.
        ready: a container must be ready within this.
        watchdog: a runner's event loop must show life within this.
        silence: a model may be silent for this long; how long it writes has no bound.
        quiet: a provider's open query that has nothing to answer is closed after this.
    """

    idle: Seconds = 300.0
    turn: Seconds = 1800.0
    ready: Seconds = 20.0
    watchdog: WatchdogSeconds = 60.0
    silence: Seconds = 300.0
    quiet: Seconds = DEFAULT_QUIET_SECONDS


class Images(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How container images are built.

    Attributes:
        base: the image below ours.
        wheels: a directory of Python wheels, used instead of the package index.
        packages: a directory that is a flat apt repository, used instead of Debian's for groups' own packages.
        build_network: podman's network of a build; podman's own choice where it is None.
    """

    base: ImageName = "docker.io/library/debian:trixie-slim"
    wheels: AbsolutePath | None = None
    packages: AbsolutePath | None = None
    build_network: NetworkName | None = None


class Mounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Directories of the machine that may be given to agents, each with what is below it.

    Attributes:
        readable: to be read only.
        writable: to be written, too, where the group's own configuration says so.
    """

    readable: tuple[AbsolutePath, ...] = ()
    writable: tuple[AbsolutePath, ...] = ()


class OneCli(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OneCLI, through which everything goes that agents may reach; ``gateway: onecli`` is one with these defaults.

    Attributes:
        url: its management API.
        credential: name of the API key among the gateway's credentials; None: it wants none.
        proxy: its gateway, where it is not where it says itself: the agents' proxy, and where approvals are asked for.
        project: which project an organization's API key means; None: the key's own.
        secrets: what an agent that is made new there gets: nothing until somebody assigns it something, or all secrets.
    """

    url: Url = "http://127.0.0.1:10254"
    credential: CredentialName | None = "onecli"
    proxy: Url | None = None
    project: ProjectId | None = None
    secrets: SecretMode = "selective"


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The agents' way out: its bounds, and who puts credentials into requests.

    Attributes:
        onecli: does that in our place; None: we do.
        max_body: bytes of one request's body to an endpoint.
        max_connections: connections of one agent group at once; enough for every session that can be awake by default.
        max_egress: connections of one agent group to other hosts at once.
        egress_idle: seconds after which a connection to another host on which nothing goes is ended.
        hold: seconds that a request waits for somebody's word where a rule asks.
        drain: seconds that running answers get when the gateway is stopped.
    """

    onecli: OneCli | None = None
    max_body: BodySize = 8 * MIB
    max_connections: Connections = 64
    max_egress: Connections = 128
    egress_idle: Seconds = 600.0
    hold: Seconds = 300.0
    drain: Seconds = 60.0


class Channel(msgspec.Struct, frozen=True):
    """A channel as the file says it. Its type's adapter checks the options, when the channel is started.

    Attributes:
        type: the platform's adapter.
        options: the other keys, as plain values.
        name: its own key in the file.
        file: where it was read.
        lines: line of the channel ("") and of each key below it.
    """

    type: Word
    options: Mapping[str, Any] = {}
    name: str = ""
    file: str = ""
    lines: Mapping[str, int] = {}

    def place(self, option: str = "") -> str:
        """Return ``FILE:LINE: channels.NAME.OPTION``; an option that the file leaves out is at its nearest key."""
        key = option
        while key and key not in self.lines:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        named = f"channels.{self.name}.{option}" if option else f"channels.{self.name}"
        return f"{self.file}:{self.lines.get(key, 1)}: {named}"


class Access(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may talk to an agent before somebody has said so.

    Attributes:
        unknown_chats: what becomes of a chat that no agent hears, once somebody speaks to the account in it: nothing,
            an administrator is asked, or it gets the default group.
        unknown_senders: the policy of chats that are new: what becomes of people whom nobody has admitted.
        approval_hours: an approval that nobody has decided expires after this.
        default_group: the agent group of public unknown chats.
    """

    unknown_chats: Policy = "request_approval"
    unknown_senders: Policy = "request_approval"
    approval_hours: Hours = 24.0
    default_group: GroupName | None = None


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        model: the model of groups that name none.
        provider: the provider of groups that name none.
        allow_scripted: whether a group may use the provider ``scripted``, which tests use to probe the sandbox.
        endpoints: model endpoints by name; ``embedded`` is always among them.
        channels: chat accounts by name; the terminal is there without a word.
        log_level: least level that is logged.
    """

    model: ModelSpec = "embedded/smollm2"
    provider: Word = "openai"
    allow_scripted: Switch = False
    endpoints: dict[EndpointName, Endpoint] = msgspec.field(default_factory=lambda: {"embedded": EMBEDDED})
    channels: dict[ChannelName, Channel] = {}
    access: Access = msgspec.field(default_factory=Access)
    limits: Limits = msgspec.field(default_factory=Limits)
    timeouts: Timeouts = msgspec.field(default_factory=Timeouts)
    images: Images = msgspec.field(default_factory=Images)
    mounts: Mounts = msgspec.field(default_factory=Mounts)
    gateway: Gateway = msgspec.field(default_factory=Gateway)
    log_level: Level = "info"

    def resolve_model(self, spec: str | None = None) -> ModelChoice:
        """Return the model that ``ENDPOINT/MODEL`` names, or the default one.

        Raises:
            InvalidName: not of that form.
            NotFound: no such endpoint in the configuration.
        """
        text = self.model if spec is None else spec
        try:
            endpoint, model = msgspec.convert(text, ModelSpec).split("/", 1)
        except msgspec.ValidationError:
            raise InvalidName(f"not a model: {text[:80]!r}; expected ENDPOINT/MODEL like embedded/smollm2") from None
        if endpoint not in self.endpoints:
            known = ", ".join(sorted(self.endpoints))
            raise NotFound(f"no model endpoint {endpoint!r} in the configuration; there are: {known}")
        return ModelChoice(endpoint, model)

    def endpoint_of(self, spec: str) -> str:
        """Return the endpoint that a model's name means, also where it is not in the configuration any more.

        An empty name is that of the default model.
        """
        return (spec or self.model).partition("/")[0]

    def problems(self) -> list[tuple[str, str]]:
        """Return what is wrong between keys, each as the key and the fault."""
        found: list[tuple[str, str]] = []
        try:
            self.resolve_model()
        except NotFound as error:
            found.append(("model", error.message))
        if self.provider == "scripted" and not self.allow_scripted:
            found.append(("provider", "scripted needs allow_scripted: true"))
        if self.limits.memory_budget < self.limits.session_memory:
            found.append(("limits.memory_budget", "smaller than limits.session_memory: no session could ever wake"))
        found += [(f"channels.{name}", RESERVED_CHANNELS[name]) for name in self.channels if name in RESERVED_CHANNELS]
        if self.access.unknown_chats == "public" and self.access.default_group is None:
            found.append(("access.unknown_chats", "public needs access.default_group"))
        if self.timeouts.turn < self.timeouts.silence:
            found.append(("timeouts.turn", "shorter than timeouts.silence"))
        return found
