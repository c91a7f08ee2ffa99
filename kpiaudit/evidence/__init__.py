"""What turns a flagged row into something that a person can act on."""
