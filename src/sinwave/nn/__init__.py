"""Networks: plain modules, independent of how they are trained and where their weights come from."""
