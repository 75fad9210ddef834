"""Markers: what a graph asks for, which files each speaks of, and the file itself."""
