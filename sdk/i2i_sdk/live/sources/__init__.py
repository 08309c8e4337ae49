"""Sources: where frames of live video come from."""
