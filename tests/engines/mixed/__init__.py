"""Mixed models: axes, equations, REML."""
