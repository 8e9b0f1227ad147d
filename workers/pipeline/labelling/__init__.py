"""Labels that no model writes: rules over concepts, and what a feature promotes, each scored on
documents held out.
"""
