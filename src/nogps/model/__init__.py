"""From pixels to scores to a place: network, classes, losses, decoding, Locator, ONNX."""
