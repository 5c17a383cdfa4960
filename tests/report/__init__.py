"""Text and figures: `bmtme/report`."""
