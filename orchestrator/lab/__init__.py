"""A fleet of local SSH hosts to try everything on."""
