"""What works on the checkout: building, the repository, suite roots, checks."""
