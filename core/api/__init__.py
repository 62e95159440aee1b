"""HTTP and WebSocket for programs: everything on the screen, by the pages' own queries."""

from core.api.access import Access, demand_protection
from core.api.connections import minded
from core.api.guard import Guard
from core.api.limits import Limits
from core.api.routes import api_routes

__all__ = ["Access", "Guard", "Limits", "api_routes", "demand_protection", "minded"]
