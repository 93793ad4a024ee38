"""How a command ends."""

OK = 0
ERROR = 1
USAGE = 2
UNREACHABLE = 3
TIMEOUT = 4
REFUSED = 5
PENDING = 6

EXIT_CODES: tuple[tuple[int, str], ...] = (
    (OK, "done"),
    (ERROR, "error"),
    (USAGE, "wrong usage"),
    (UNREACHABLE, "nanoclawd is not running or cannot be reached"),
    (TIMEOUT, "no answer in time"),
    (REFUSED, "refused: not allowed, or against a rule or limit"),
    (PENDING, "not done yet: it waits for somebody's approval (an agent's commands)"),
)

EXPLAINED = "exit codes:\n" + "".join(f"  {code}  {text}\n" for code, text in EXIT_CODES)


class CommandError(Exception):
    """Ends the command with an exit code, a message, and the next command to type where one helps."""

    def __init__(self, code: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
