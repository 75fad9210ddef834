"""A small stand-in for ComfyUI, for the demo and for the tests.

It presents the seams that custom nodes use (queue, executor, progress registry, folders, routes), and
runs a handful of real nodes without torch. It lives only in a process of its own, started by
``python -m run_recorder.embedded_host``, because it puts modules under ComfyUI's top-level names.
Importing this package does nothing.
"""
