"""What a stranger may put in our way: servers, folders, files, records."""
