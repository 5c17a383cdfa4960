"""The model: what is in it, its priors, scales, the layout of records and the eigenbasis of the lines."""
