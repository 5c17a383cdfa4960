"""From draws to summaries, predictions and files: `bmtme/results`."""
