"""The sub-commands of `run-recorder`, one file each."""
