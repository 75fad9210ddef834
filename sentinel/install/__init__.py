"""Has the operating system start the sentinel: a small file for each way, and a plan before anything is done."""
