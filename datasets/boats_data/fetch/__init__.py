"""Download of the Venice boats data set."""
