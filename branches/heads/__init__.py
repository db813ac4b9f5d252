"""Ridge, logistic and MLP heads: on window features, or on the embedding of another branch (`ridge@BRANCH`)."""
