"""The door that every request passes: written down, counted, held at barriers and disturbed by faults."""
