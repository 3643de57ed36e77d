"""Any source of images into a store."""
