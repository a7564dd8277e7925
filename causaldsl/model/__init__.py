"""What a model offers without its weights: catalog, shapes, sites, tokens."""
