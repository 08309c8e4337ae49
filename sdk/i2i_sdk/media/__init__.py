"""Media: images, videos and sound from files, and into files that appear whole or not at all."""
