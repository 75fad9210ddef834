"""What scripts see: thin aiohttp handlers over the core, one file a resource. `table.py` has all of them."""
