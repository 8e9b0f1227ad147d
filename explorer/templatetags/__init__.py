"""What templates can do: heatmaps, plots, numbers."""
