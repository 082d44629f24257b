"""What goes on in the background: flushing to a store that follows, and expiry."""
