"""How the risk state is shown and mirrored."""
