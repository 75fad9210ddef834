"""From an event in ComfyUI to a committed record: the open prompts, their state machine, the thread that saves them."""
