"""How a net becomes a file of each format: one module a format."""
