"""Batches of training images from a store."""
