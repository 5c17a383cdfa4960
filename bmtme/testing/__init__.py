"""Instruments for tests and validation: the dense twin of the model, small cases, joint-distribution tests.

Nothing outside `tests/` and `validation/` imports this package.
"""
