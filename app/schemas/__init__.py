"""Request and response models by resource, as they stand in the OpenAPI document."""
