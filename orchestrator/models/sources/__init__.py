"""Where a model's file comes from: a path, a URL, a member of a wheel."""
