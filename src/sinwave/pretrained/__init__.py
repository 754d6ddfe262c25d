"""Published weights: found, checked strictly, licensed, and never fetched without being asked."""
