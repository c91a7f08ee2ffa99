"""Pure functions on arrays; each cites its source."""
