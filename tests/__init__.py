"""Tests, in the folders of `bmtme/` and a few beside them.

`pipeline` holds whole fits, `reported` every number they report, `fuzz` what is damaged or odd, `project` the pages,
examples and planted errors, `validation` what the studies compute with, `helpers` what several tests share.
"""
