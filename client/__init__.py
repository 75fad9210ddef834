"""The client side of ComfyUI's and of our routes: what is asked of a server, and how much of an answer is taken."""
