"""Parts of the measurement scripts, imported as `suite` from the folder of the scripts."""
