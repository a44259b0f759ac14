# Every target sets itself up: Python 3.11+ and make are all that is needed.
BROKER ?= redis
STORE ?= redis
SEED ?= 1
KIND ?= kills
PORT ?= 8000
PYTHON ?= python3
SIDECART = $(PYTHON) ./sidecart

.DEFAULT_GOAL := help
.PHONY: help run demo bench faults faults-mutants soak test test-full test-compose lint system-deps system-deps-full

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "More commands: ./sidecart --help"

run: ## start the shop (BROKER=redis|rabbitmq, STORE=redis|postgres, PORT=8000) and keep it until Ctrl-C
	@exec $(SIDECART) run --broker $(BROKER) --store $(STORE) --port $(PORT)

demo: ## both flows, with every event as it passes (BROKER=, STORE=, WITHOUT=an app to leave out)
	@exec $(SIDECART) demo --broker $(BROKER) --store $(STORE) $(addprefix --without ,$(WITHOUT))

bench: ## ours and the same shop without sidecars, side by side: an hour or more (QUICK=1: some minutes)
	@exec $(SIDECART) bench $(if $(QUICK),--quick) $(BENCH)

test: ## all tests, end to end on each broker
	@exec $(SIDECART) test

test-full: ## what takes minutes: 20,000 generated requests, the Node service, dapr.yaml as the CLI runs it, containers, the live page
	@exec $(SIDECART) test-full

test-compose: ## the compose file, unchanged, in containers, on each broker
	@exec $(SIDECART) test-compose

faults: ## faults under load, then an audit (BROKER=, STORE=, SEED=1, KIND=kills; KIND=all: every kind)
	@exec $(SIDECART) faults --kind $(KIND) --broker $(BROKER) --store $(STORE) $(addprefix --seed ,$(SEED))

faults-mutants: ## the same with each safeguard taken out in turn: the auditor has to find it
	@exec $(SIDECART) faults --mutants

soak: ## twenty minutes of orders at a constant rate: memory, streams, records (BROKER=, STORE=)
	@exec $(SIDECART) soak --broker $(BROKER) --store $(STORE)

lint: ## ruff, mypy --strict, a reason beside each exception, the doctor on our own YAML, the prose rules
	@exec $(SIDECART) lint

system-deps: ## install the Debian packages that BROKER=rabbitmq, STORE=postgres and GATEWAYS=3 need
	@./.ci/system-deps

system-deps-full: ## install those that test-full and test-compose need (podman and what belongs to it, Node, Chromium, Java)
	@./.ci/system-deps full
