"""Compiled algebra and the cache of what was compiled: `bmtme/linalg`."""
