"""What `trader doctor` looks at, a room a subject; each finding says what to do."""
