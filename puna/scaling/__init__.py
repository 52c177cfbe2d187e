"""Small runs -> predicted loss -> plan and price."""
