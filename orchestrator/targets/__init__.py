"""How a host is reached, and the commands that run there."""
