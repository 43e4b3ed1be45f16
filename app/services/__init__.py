"""Services: the use cases, small classes given their ports; wired in `app.wiring`."""
