"""The instruments of tests and validation: `bmtme/testing`."""
