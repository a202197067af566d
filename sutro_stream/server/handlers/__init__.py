"""Who answers which route: one file for each kind of thing."""
