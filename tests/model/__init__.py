"""Priors, layout of the records, eigenbasis: `bmtme/model`."""
