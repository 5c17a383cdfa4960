"""A result as one page for a browser: what can be trusted, the numbers, and how they were made."""
