"""What has been answered, durably: resume, nothing paid twice, ordered output."""
