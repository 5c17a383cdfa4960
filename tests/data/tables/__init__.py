"""Tables of phenotypes: `bmtme/data/tables` and `bmtme/data/trial.py`."""
