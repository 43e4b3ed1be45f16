"""What a curve and its trades were worth, and how much of it may be luck."""
