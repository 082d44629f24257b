"""``milepost demo``: real purchases, tracked before your eyes."""
