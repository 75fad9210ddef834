"""Files in folders that others may write: opened without following links, read with a bound, named without clashes."""
