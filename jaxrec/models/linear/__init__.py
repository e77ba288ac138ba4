"""Linear item-item weights: of `neighbours`, by `ease` and `text_ease`, by a sparse inverse."""
