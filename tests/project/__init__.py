"""The files around the package: pages, examples, the list of planted errors."""
