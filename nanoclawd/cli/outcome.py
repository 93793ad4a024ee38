"""How a command ends."""

OK = 0
ERROR = 1
USAGE = 2
UNREACHABLE = 3
TIMEOUT = 4
REFUSED = 5
PENDING = 6

EXPLAINED = """exit codes:
  0  done
  1  error
  2  wrong usage
  3  nanoclawd is not running or cannot be reached
  4  no answer in time
  5  refused: not allowed, or against a rule or limit
  6  not done yet: it waits for somebody's approval (an agent's commands)
"""


class CommandError(Exception):
    """Ends the command with an exit code, a message, and the next command to type where one helps."""

    def __init__(self, code: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
