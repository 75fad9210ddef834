"""What belongs to one process: settings, identity, problems, and what may be said of it."""
