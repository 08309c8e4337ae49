"""Options: dataclasses, flags and files that set them."""
