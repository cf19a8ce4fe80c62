"""The daily job after arrivals: does the model in Production still fit the users."""
