"""What carries the operations out: NumPy now, ONNX as a graph, PyTorch as a module."""
