"""How a file says that it is damaged. Imports nothing: the process that reads a book begins with this."""


class Damaged(Exception):
    """What is wrong with the bytes at hand. The message is the reason of a reject, so it is short and has no paths.

    at: offset in the file where the damaged member begins.
    """

    def __init__(self, problem: str, at: int = -1):
        super().__init__(problem)
        self.at = at


def larger_than(limit: int) -> str:
    """The reason of a record beyond a limit."""
    return f"larger than {limit} bytes"


def one_line(error: BaseException) -> str:
    """An error's message, short and in one line."""
    return " ".join(str(error).split())[:100] or type(error).__name__
