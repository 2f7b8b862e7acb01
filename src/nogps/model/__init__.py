"""From pixels to scores to a place: network, losses, Locator, ONNX."""
