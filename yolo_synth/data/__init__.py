"""Images and boxes: from files on disk to batches for the network."""
