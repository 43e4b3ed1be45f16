"""A recorded live period decided and matched once more, and every difference with its cause."""
