"""How artifacts are made of a net, and the proof that each of them still plays the same."""
