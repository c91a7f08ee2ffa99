"""From export files to a `Dataset`."""
