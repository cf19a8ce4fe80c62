"""The daily job before arrivals: ratings that people gave in the service become what models learn from."""
