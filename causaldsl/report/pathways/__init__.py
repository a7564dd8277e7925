"""A trace as a picture: which pathways carried the effect of an intervention."""
