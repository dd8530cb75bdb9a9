"""Objects instead of pixels: what networks make of true boxes, and of as many boxes of the background."""
