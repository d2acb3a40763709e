"""The OpenAPI document with its examples, and the pages that are made of it."""
