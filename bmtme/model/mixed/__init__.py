"""Mixed models in words: formulas and the values they parse to, and how the rows of a table meet them."""
