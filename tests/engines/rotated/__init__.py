"""Samplers on the eigenbasis of the relationship: `bmtme/engines/rotated`, whose README says which test holds what."""
