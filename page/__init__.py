"""The web page on which a reader draws a digit."""
