SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules

# What the tests need beside Go; tools/need knows the packages.
NEEDS := gcc redis-server strace node npm
LINT  := go tool -modfile=tools/go.mod golangci-lint

.PHONY: help
help: ## Say what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## Run the marketplace on this machine, with nothing installed
	go run ./cmd/marketplace

.PHONY: test
test: ## Run every test that takes minutes at most
	tools/need $(NEEDS)
	go test -race ./...
	go test ./actors -run TestSimulation -seeds 2500
	if [ -f bench/go.mod ]; then cd bench && go test -race ./...; fi
	$(MAKE) test-api test-client

.PHONY: test-api
test-api: ## Hold the descriptions of the API to their rules, and the server to them
	tools/need node npm
	tools/npm tools/apicheck
	cd tools/apicheck && go test -count=1 ./...

.PHONY: test-client
test-client: ## Test the TypeScript client, against the real server
	tools/need node npm
	tools/npm web/client
	go build -o bin/marketplace ./cmd/marketplace
	cd web/client && SERVER_BINARY=$(CURDIR)/bin/marketplace timeout 300 npm test

.PHONY: test-long
test-long: ## Run the tests that take hours, too (they are behind the build tag "long")
	tools/need $(NEEDS)
	go test -race -tags long -timeout 4h ./...
	go test ./actors -run TestSimulation -seeds 100000 -timeout 4h
	go test ./actors -run TestSimulation -seeds 2000 -thorough -timeout 4h

.PHONY: mutants
mutants: ## Take each rule of the durable actor away, and see that a test notices
	go run ./internal/mutants

.PHONY: faults
faults: ## Break what the server stands on, for minutes, and count what is lost or doubled
	tools/need $(NEEDS)
	go run ./internal/faults -for 60s

.PHONY: attacks
attacks: ## Attack the real server: tokens, frames, floods, silence, other sites' pages
	go run ./internal/attacks

.PHONY: soak
soak: ## Keep 5,000 connections for ten minutes, cut and slow ones among them, and see that nothing grows
	go run ./internal/soak -for 10m

.PHONY: lint
lint: ## Read the code critically (the first time builds the reader, which takes minutes)
	$(LINT) run

.PHONY: generate
generate: ## Make everything that follows from the schema
	go generate ./messages

.PHONY: current
current: generate ## Fail if generated files were not committed as they should be
	git diff --exit-code -- messages docs/PROTOCOL.md docs/api web/client/src
	test -z "$$(git ls-files --others --exclude-standard -- messages docs web/client/src)" || { git status --short -- messages docs web/client/src; exit 1; }

.PHONY: check
check: current lint test ## Do what CI does

.PHONY: bench
bench: ## Measure durable commands, entities, topics and stores against their peers
	cd bench && go run .

.PHONY: bench-gateway
bench-gateway: ## Measure the gateway alone, beside centrifuge and a bare epoll server
	cd bench && go run . -only gateway -rounds 5 -for 5s
