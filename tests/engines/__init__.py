"""Samplers: `bmtme/engines`."""
