"""The client side: one scene under a queue policy, collected whole, with a record that validates."""
