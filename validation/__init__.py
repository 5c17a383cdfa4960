"""Statistical validation: studies of whole samplers, run by ``python -m validation.run``.

Every module or package in this folder that registers a study (see `validation.registry`) takes part.
"""
