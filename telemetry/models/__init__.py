"""What is stored and what is served, as data: records, the models made of them, times and texts."""
