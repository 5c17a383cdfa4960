"""Damaged files, odd frames and odd arguments end in a result or in an error that names the place."""
