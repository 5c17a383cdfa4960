"""Tables and their cells: text, identifiers and numbers, from text files, workbooks and Parquet."""
