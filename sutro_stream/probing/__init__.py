"""What an endpoint can do: measured, compared, drawn."""
