"""The installation on one machine: everything the product needs, started, watched and stopped by one command."""
