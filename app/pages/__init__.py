"""The pages that fans and operators look at: HTML rendered here, over the same services as the API."""
