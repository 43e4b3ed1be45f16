"""What watches apart from any cycle: protection, exits, the kill switch, progress."""
