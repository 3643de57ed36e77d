"""Images: where they come from, their rescaling, the store on disk, epochs of batches, augmentation."""
