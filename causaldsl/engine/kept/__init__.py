"""Values of operations in a store of results, so that no run makes again what one has made."""
