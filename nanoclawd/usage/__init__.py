"""What agents use up, how much of it they may, and what troubles them."""
