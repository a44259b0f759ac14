# Every target installs its own requirements; you need only Python 3.11+ and make.
BROKER ?= redis
STORE ?= redis
SEED ?= 1
KIND ?= kills
PORT ?= 8000
PYTHON ?= python3
SIDECART = $(PYTHON) ./sidecart

.DEFAULT_GOAL := help
DOCS_PORT ?= 8008
# an overlay of deploy/kubernetes has the name of its broker, and of its store unless that is Redis
OVERLAY ?= $(BROKER)$(if $(filter-out redis,$(STORE)),-$(STORE))

.PHONY: help run dev demo bench faults faults-mutants soak attack test test-fast test-full test-compose test-kubernetes kubernetes kubernetes-down lint audit system-deps system-deps-full docs

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "More commands: ./sidecart --help"

run: ## run the shop until Ctrl-C (BROKER=redis|rabbitmq, STORE=redis|postgres, PORT=8000)
	@exec $(SIDECART) run --broker $(BROKER) --store $(STORE) --port $(PORT)

dev: ## run the shop, and restart an app when its code changes (BROKER=, STORE=, PORT=)
	@exec $(SIDECART) run --reload --broker $(BROKER) --store $(STORE) --port $(PORT)

demo: ## run both flows and print every event (BROKER=, STORE=, WITHOUT=an app to leave out)
	@exec $(SIDECART) demo --broker $(BROKER) --store $(STORE) $(addprefix --without ,$(WITHOUT))

bench: ## compare the shop with and without sidecars: an hour or more (QUICK=1: some minutes)
	@exec $(SIDECART) bench $(if $(QUICK),--quick) $(BENCH)

test: ## run all tests, the end-to-end ones on each broker
	@exec $(SIDECART) test

test-fast: ## run the tests without sidecars in about a minute; it prints what it does not cover
	@exec $(SIDECART) test-fast

test-full: ## run the slow tests (20,000 requests, Node, dapr.yaml, containers, live page)
	@exec $(SIDECART) test-full

test-compose: ## test the unchanged compose file in containers, on each broker
	@exec $(SIDECART) test-compose

test-kubernetes: ## test the manifests on a real cluster of two nodes (FULL=1: every test)
	@exec $(SIDECART) test-kubernetes

kubernetes: ## start the shop on a Kubernetes cluster (BROKER=, STORE=, CONTEXT= or the current one)
	@exec $(SIDECART) kubernetes up --overlay $(OVERLAY) $(addprefix --context ,$(CONTEXT)) --port $(PORT) $(KUBERNETES)

kubernetes-down: ## remove it from the cluster, with all its data (CONTEXT=)
	@exec $(SIDECART) kubernetes down $(addprefix --context ,$(CONTEXT)) $(KUBERNETES)

attack: ## run every attack on each broker, and again without its control; prints a table
	@exec $(SIDECART) attack

faults: ## inject faults under load, then audit (BROKER=, STORE=, SEED=1, KIND=kills or all)
	@exec $(SIDECART) faults --kind $(KIND) --broker $(BROKER) --store $(STORE) $(addprefix --seed ,$(SEED))

faults-mutants: ## check that the auditor detects the removal of each safeguard
	@exec $(SIDECART) faults --mutants

soak: ## measure memory, streams and records for 20 minutes of orders (BROKER=, STORE=)
	@exec $(SIDECART) soak --broker $(BROKER) --store $(STORE)

docs: ## build the documentation as a site, without a warning, and serve it (DOCS_PORT=8008)
	@exec $(SIDECART) docs --port $(DOCS_PORT)

lint: ## run ruff, mypy --strict, the check of lint exceptions, the doctor and the prose rules
	@exec $(SIDECART) lint

audit: ## look for known vulnerabilities of the locked packages (exit code 3: no data)
	@exec $(SIDECART) audit

system-deps: ## install the Debian packages for BROKER=rabbitmq, STORE=postgres and several gateways
	@./.ci/system-deps

system-deps-full: ## install podman, Node, Chromium, Prometheus, Java for the slow tests
	@./.ci/system-deps full
