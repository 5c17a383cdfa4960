"""What the studies in `validation/` compute with."""
