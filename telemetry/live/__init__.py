"""What is told while it happens: long-polls, the stream of events, metrics."""
