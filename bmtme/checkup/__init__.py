"""A look at a trial before a fit: what it covers, what may be a mistake, how it fits a relationship."""
