"""Where the pages lie, for the navigation and for links between them."""

PRICES = "pages/market/prices.py"
PAIR = "pages/market/pair.py"
CORRELATION = "pages/market/correlation.py"
SCANNER = "pages/market/scanner.py"
ALERTS = "pages/operate/alerts.py"
DATA = "pages/operate/data.py"
BACKTEST = "pages/research/backtest.py"
