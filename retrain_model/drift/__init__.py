"""The daily job after arrivals: tell whether the model in Production still fits the users."""
