"""What goes in: phenotypes, relationships, markers, pedigrees; read, checked and matched by name."""
