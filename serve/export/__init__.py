"""From torch checkpoints to ONNX graphs and a bundle; the only part of serving that needs torch."""
