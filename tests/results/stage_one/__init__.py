"""Stage one against models written out in full."""
