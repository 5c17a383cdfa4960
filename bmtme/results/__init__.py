"""From draws to labelled posteriors, summaries, predictions and files."""
