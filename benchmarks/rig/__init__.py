"""What the lanes of the suite share: endpoints, runs, figures and how they are told."""
