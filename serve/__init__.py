"""The serving side: the room of the ONNX export, the bundle, the onnxruntime backend, the HTTP app and the demo."""
