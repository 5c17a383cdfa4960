"""Commands of the shell."""

from collections.abc import Callable

#: Takes the words of a command; gives its exit status, stdout and stderr.
Run = Callable[..., tuple[int, str, str]]

COLUMNS = ["--line", "line", "--env", "env"]
SMALL = ["--draws", "30", "--tune", "20", "--chains", "2", "--seed", "3"]
