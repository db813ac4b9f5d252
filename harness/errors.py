"""The two ways in which input can be bad, the user's words or one recording among many, and the work itself giving way."""


class BadInput(Exception):
    """The command cannot go on: an unknown key, an empty split, a folder that is not a data set.

    The message is one line that says what is wrong, where, and what to do. The command line prints it and exits with 2.
    """


class WorkFailed(Exception):
    """The work cannot go on although nothing is wrong with the input, e.g. Ray lost its machine.

    The message is one line. The command line prints it and exits with 1; what was done is kept.
    """


class UnreadableEpisode(Exception):
    """One episode cannot be read; the others go on and this one is quarantined.

    Args:
        path: The file or folder at fault.
        reason: One line: what is wrong and what to do about it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Ray carries exceptions between processes; the default would pass the message as the only argument.
        return type(self), (self.path, self.reason)
