# dhow: everything a developer runs. `make` alone prints this list.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
BIN      := bin
BUF      := $(GO) tool -modfile=internal/tools/buf/go.mod buf
LINT     := $(GO) tool -modfile=internal/tools/lint/go.mod golangci-lint
SEED     ?=
PKG      ?= ./...
FUZZTIME ?= 20s
ARGS     ?=
export CGO_ENABLED ?= 1

GUESTS := ticker hello wordcount calc server

help: ## print this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

deps: ## install what the tests need (Debian and Ubuntu packages: C and Rust compilers for wasm)
	@./internal/tools/deps.sh

build: guests ## build bin/dhow, bin/dhow-agent and the example guests
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/ ./cmd/dhow ./cmd/dhow-agent

guests: $(GUESTS:%=$(BIN)/guests/%.wasm) ## build the example guests (Go, GOOS=wasip1)

$(BIN)/guests/%.wasm: $(wildcard examples/guests/*/*.go) go.mod
	@mkdir -p $(BIN)/guests
	GOOS=wasip1 GOARCH=wasm $(GO) build $(GUESTFLAGS) -trimpath -ldflags '-s -w' -o $@ ./examples/guests/$*
$(BIN)/guests/calc.wasm: GUESTFLAGS := -buildmode=c-shared # a library: functions, no main

demo: build ## a cluster of three nodes, a service, an HTTP handler and a job, a lost node; then it ends
	@./examples/demo.sh

run: build ## the same examples on a cluster that stays; Ctrl-C ends it
	@./examples/run.sh

test: deps ## all tests, with the race detector, shuffled
	$(GO) test -race -shuffle=on -timeout 15m ./...
	$(GO) test -count=1 ./e2e/sim # hundreds of seeds; with the race detector it runs few

check: deps fmt-check vet lint proto-check test ## what CI checks: format, vet, lint, import law, generated code, test

fmt: ## format
	$(LINT) fmt

fmt-check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run make fmt'; exit 1; }

vet:
	$(GO) vet ./...
	GOOS=wasip1 GOARCH=wasm $(GO) vet ./examples/guests/...

lint:
	$(LINT) run ./...

generate: ## generate Go from proto/
	$(BUF) format -w
	$(BUF) generate

proto-released: ## make the API as it is now what buf breaking compares with: at a release
	$(BUF) build --exclude-source-info -o proto/released.binpb

proto-check: ## buf lint, buf breaking against the last release, and generated code is what is committed
	@./internal/tools/protocheck.sh

golden: ## rewrite golden files
	$(GO) test ./cmd/dhow ./cmd/internal/manifest -update

sim: ## a simulated cluster: make sim SEED=42, or many seeds without
	$(GO) test ./e2e/sim -run 'TestSim$$' -count=1 -v $(if $(SEED),-seed $(SEED))

fuzz: ## run every fuzz test for FUZZTIME
	@./internal/tools/fuzz.sh $(FUZZTIME)

stress: ## run the tests of PKG many times: make stress PKG=./node/agent
	$(GO) test -race -shuffle=on -count=20 -failfast $(PKG)

e2e: guests ## separate processes, killed in many ways; the planner checks its invariants as it goes
	@mkdir -p $(BIN)/e2e
	CGO_ENABLED=0 $(GO) build -trimpath -tags invariants -o $(BIN)/e2e/ ./cmd/dhow ./cmd/dhow-agent
	@rm -rf $(BIN)/e2e/guests && cp -r $(BIN)/guests $(BIN)/e2e/guests
	DHOW_E2E_BIN=$(CURDIR)/$(BIN)/e2e $(GO) test -count=1 -timeout 15m ./e2e/cluster

bench: bench-size bench-deploy bench-up bench-idle bench-heal bench-leader bench-store bench-wasm ## all figures of docs/benchmarks.md, from the built binary

bench-size bench-deploy bench-up bench-idle bench-heal bench-leader: build
	cd bench && $(GO) run ./figures -bin ../$(BIN) $(@:bench-%=%)

bench-store: build ## durable writes per second next to etcd's (Debian's etcd-server), same disk, same run
	@./internal/tools/deps.sh etcd-server
	cd bench && $(GO) run ./store -bin ../$(BIN)/dhow

bench-wasm: deps ## wasmrt next to wazero alone, runc and Extism's SDK: make bench-wasm ARGS='metering -only json'
	@./internal/tools/deps.sh runc
	cd bench && $(GO) run ./wasm $(ARGS)

vuln: ## known vulnerabilities in what we import
	$(GO) run golang.org/x/vuln/cmd/govulncheck@latest ./...

.PHONY: help deps build guests demo run test check fmt fmt-check vet lint generate proto-released proto-check golden sim fuzz stress e2e vuln bench bench-size bench-deploy bench-up bench-idle bench-heal bench-leader bench-store bench-wasm
