"""`timeout`: bounds what is awaited, and loses no cancellation.

`asyncio.wait_for` of Python before 3.12 forgets that its task was cancelled where what it waits for is done in that
same moment: the task then goes on for good, and whoever waits for its end waits for good, too.
"""

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout as timeout
else:  # aiohttp brings it there
    from async_timeout import timeout as timeout
