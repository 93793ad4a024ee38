"""What agents do later: when it is due, where it runs, and that each occurrence is run once."""
