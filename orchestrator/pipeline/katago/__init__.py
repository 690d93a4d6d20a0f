"""KataGo's nets: read, written, and what they compute, said once for every format."""
