"""What a process needs to run: time, trading calendar, log, metrics."""
