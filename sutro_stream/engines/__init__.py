"""Who answers one prompt: chat endpoints over HTTP, and the embedded model."""
