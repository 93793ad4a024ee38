"""Container images: what they are called, whether they are there, and building them."""
