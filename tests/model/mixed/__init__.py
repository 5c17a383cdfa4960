"""Formulas of mixed models, and how tables meet them: `bmtme/model/mixed`."""
