"""How the models of each family are built, as data read from their configurations."""
