"""The reference pages that are generated from what they describe: commands, routes, events, tables and settings."""
