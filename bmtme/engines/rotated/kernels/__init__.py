"""Compiled full conditionals: arrays in, arrays out. Letters and formulas: README.md of the folder above.

``col_env[m]`` and ``col_trait[m]`` say which environment and trait column m is; (M, J) arrays hold a column in a row.

Nothing here checks its input or prints; a matrix that is not positive definite is reported through a
return code and named by the caller.
"""
