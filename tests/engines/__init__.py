"""Samplers and mixed models: `bmtme/engines`."""
