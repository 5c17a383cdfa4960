"""What goes in: `bmtme/data`."""
