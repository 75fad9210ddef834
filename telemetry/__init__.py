"""The core: events in, records and markers out. Imports neither ComfyUI nor torch."""
