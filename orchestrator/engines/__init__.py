"""What runs a net on a host, one package for each kind."""
