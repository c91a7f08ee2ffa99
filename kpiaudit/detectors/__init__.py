"""One gaming pattern a file; `base` is the contract, `catalogue` knows them all."""
