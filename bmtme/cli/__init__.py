"""The shell command: parse, call, write. Heavy imports wait until the command line is known to make sense."""
