"""What can be said of prompts beside each other."""
