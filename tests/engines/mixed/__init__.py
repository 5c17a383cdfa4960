"""Mixed models: `bmtme/engines/mixed`, whose README says which test holds what."""
