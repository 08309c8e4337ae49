"""Quality: metrics, floors and parity of pictures."""
