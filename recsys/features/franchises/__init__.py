"""Franchises: which titles belong together, and in which order their seasons are watched."""

from recsys.features.franchises.franchises import Franchises, compute_franchises, group_franchises

__all__ = ["Franchises", "compute_franchises", "group_franchises"]
