"""What `bmtme check` finds and what fits warn of: `bmtme/checkup`."""
