"""Nothing: the distribution that this belongs to is known by its name."""
