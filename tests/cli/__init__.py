"""The shell: `bmtme/cli`."""
