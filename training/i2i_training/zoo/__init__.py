"""The zoo's own training: photos to pencil drawings."""
