"""One file per method. A recipe owns its networks and optimisers and knows one training step."""
