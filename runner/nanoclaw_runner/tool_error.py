"""What a tool raises. It stands alone, because what tools work with raises it too."""


class ToolError(Exception):
    """The call failed; the message is for the agent, and says what to do instead."""


class HostError(ToolError):
    """The host answered a call with an error.

    Attributes:
        name: the error's Varlink name, e.g. ``io.nanoclaw.Tasks.NotFound``.
        parameters: what came with it.
    """

    def __init__(self, name: str, message: str, parameters: dict[str, object]) -> None:
        super().__init__(message)
        self.name = name
        self.parameters = parameters
