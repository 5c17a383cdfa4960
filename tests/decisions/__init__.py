"""Decisions from joint draws: `bmtme/decisions`, on fits whose exact posterior is known."""
