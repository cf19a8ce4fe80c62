"""The daily job before arrivals: ratings that users gave in the service become training data."""
