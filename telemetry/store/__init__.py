"""The database: its file or server, tables, questions, age and upkeep."""
