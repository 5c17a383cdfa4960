"""Cross-validation: `bmtme/cv`."""
