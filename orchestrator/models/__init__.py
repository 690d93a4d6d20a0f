"""The catalog of models: manifests, the content-addressed store, where files come from."""
