"""The sentinel: watches folders from outside, and marks what is complete where no node does."""
