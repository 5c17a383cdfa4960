"""Compiled algebra that knows no model: how it is compiled, vector lanes, small matrices, rotation."""
