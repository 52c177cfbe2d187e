"""A corpus that grows dump by dump, and the books kept of where it comes from."""
