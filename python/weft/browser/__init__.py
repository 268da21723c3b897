"""A trained run in the browser: the page of `weft serve`, and the JavaScript libraries that compute in it."""
