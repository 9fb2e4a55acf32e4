"""The demo for evaluators: a page on this machine where GM drafts and IM revises. No request leaves the machine."""
