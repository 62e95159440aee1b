"""Alerts: rules, what they are computed from, when they fire, and how that is delivered."""
