"""OneCLI in the place of our own credentials at the door: what agents may reach goes through its proxy."""
