"""The same loops compiled, in floats: a portfolio with every rule, and the kernel of sweeps."""
