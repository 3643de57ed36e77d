"""Bytes of an image file to pixels and back."""
