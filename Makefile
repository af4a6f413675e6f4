# Thin on purpose: all the work is in tools/dev.py, which needs nothing but Python's standard library.
# Extra arguments: make test ARGS="-k journal"
PYTHON ?= python3
ARGS ?=

TARGETS := setup test demo lint bench soak docs lock clean

.PHONY: help $(TARGETS)

help:
	@$(PYTHON) tools/dev.py help

$(TARGETS):
	@$(PYTHON) tools/dev.py $@ $(ARGS)
