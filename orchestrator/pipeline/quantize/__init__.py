"""INT8: which weights and activations, rounded how, and which layers stay as they are."""
