# Chargeyard's house work. `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILT   := $(shell git log -1 --format=%cI 2>/dev/null)
OCPPGO  := firmware-sim/internal/e2e/ocppgo
OCPPRPC := firmware-sim/internal/e2e/ocpprpc
E2E     := ./firmware-sim/internal/e2e/...

# What ships: no cgo, no paths of this machine, no symbols. One set of flags
# for every target, or SQLite compiles again (a minute for each set).
SHIP := CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.built=$(BUILT)'

# What is tested: the race detector and the seams (failpoints, clocks, full
# disks), for vet, linters, unit tests and the binaries of the end-to-end
# tests alike, so that all of them share one compilation.
TEST_FLAGS := $(strip $(filter-out -buildvcs=false,$(shell go env GOFLAGS)) -buildvcs=false -race -tags=seams)

FUZZTIME ?= 1m
SOAKTIME ?= 30m
MUTANTS  ?= -baseline

export CHARGEYARD_BIN := $(CURDIR)/bin/race

##@ Every day

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: host ## start manager, gateway and a simulated depot of 12 chargers; Ctrl-C stops them
	@scripts/run.sh

.PHONY: test
test: ## install what tests need, then check everything and run the end-to-end tests
	@scripts/setup-tests.sh
	@$(MAKE) check e2e

.PHONY: check
check: format vet lint unit ## format, vet, linters and unit tests with the race detector: before every push

.PHONY: build
build: host ## build the three binaries for this machine and for linux on amd64, arm64 and armv7
	mkdir -p bin/linux-amd64 bin/linux-arm64 bin/linux-armv7
	$(call ship,linux-amd64,GOOS=linux GOARCH=amd64)
	$(call ship,linux-arm64,GOOS=linux GOARCH=arm64)
	$(call ship,linux-armv7,GOOS=linux GOARCH=arm GOARM=7)

define ship
$(2) $(SHIP) -o bin/$(1)/chargeyard-edge ./edge
$(2) $(SHIP) -o bin/$(1)/chargeyard-cloud ./cloud
$(2) $(SHIP) -o bin/$(1)/chargeyard-sim ./firmware-sim
endef

##@ Now and then

.PHONY: bench
bench: host ref ## measure against the references and print ratios
	go run -buildvcs=false ./scripts/bench $(BENCH)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (1m)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

.PHONY: soak
soak: race ref ## let a depot charge under random failures for SOAKTIME (30m)
	CHARGEYARD_E2E=1 CHARGEYARD_SOAK=$(SOAKTIME) GOFLAGS='$(TEST_FLAGS)' go test -count=1 -timeout 0 -v -run '^TestSoak' $(E2E)

.PHONY: mutants
mutants: tools ref ## show that each proof can fail: apply every patch of scripts/mutants/patches in turn
	@go run -buildvcs=false ./scripts/mutants $(MUTANTS)

.PHONY: cover
cover: ## unit tests' coverage by package; the lines are in bin/cover.html
	@GOFLAGS='$(TEST_FLAGS)' scripts/cover.sh

.PHONY: generate
generate: ## write generated code and documents anew (OCPP_SCHEMAS names the folder of the OCPP schemas)
	go generate ./...

.PHONY: vuln
vuln: tools ## look up known vulnerabilities; needs the network
	bin/tools/govulncheck ./...

.PHONY: clean
clean: ## remove bin/; data/ stays
	rm -rf bin

##@ Parts of the above

.PHONY: host
host: ## the three binaries for this machine, as they ship, in bin/
	@mkdir -p bin
	$(SHIP) -o bin/chargeyard-edge ./edge
	$(SHIP) -o bin/chargeyard-cloud ./cloud
	$(SHIP) -o bin/chargeyard-sim ./firmware-sim

.PHONY: race
race: ## the three binaries for end-to-end tests, with race detector and seams, in bin/race/
	@mkdir -p bin/race
	GOFLAGS='$(TEST_FLAGS)' go build -o bin/race/chargeyard-edge ./edge
	GOFLAGS='$(TEST_FLAGS)' go build -o bin/race/chargeyard-cloud ./cloud
	GOFLAGS='$(TEST_FLAGS)' go build -o bin/race/chargeyard-sim ./firmware-sim

.PHONY: ref
ref: ## the third-party peers, in bin/ref/
	@mkdir -p bin/ref
	go -C $(OCPPGO) build -buildvcs=false -trimpath -o $(CURDIR)/bin/ref/ ./...

# What npm installed is named by a file that it writes last.
$(OCPPRPC)/node_modules/.package-lock.json: $(OCPPRPC)/package-lock.json
	npm ci --prefix $(OCPPRPC) --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: format
format: ## every Go file is as gofmt writes it
	@bad=$$(git ls-files -co --exclude-standard -- '*.go' | xargs -r gofmt -l); \
	if [ -n "$$bad" ]; then echo "not as gofmt writes them (gofmt -w mends it):"; echo "$$bad"; exit 1; fi

.PHONY: vet
vet: ## go vet
	GOFLAGS='$(TEST_FLAGS)' go vet ./...
	go -C $(OCPPGO) vet ./...

.PHONY: lint
lint: tools ## the linters of .golangci.yml
	GOFLAGS='$(TEST_FLAGS)' bin/tools/golangci-lint run ./...

.PHONY: unit
unit: tools ## unit tests with the race detector
	@GOFLAGS='$(TEST_FLAGS)' bin/tools/gotestsum --format pkgname-and-test-fails -- \
		-count=1 -timeout 15m $$(GOFLAGS='$(TEST_FLAGS)' go list ./... | grep -v /firmware-sim/internal/e2e)
	@go -C $(OCPPGO) test -race ./...

.PHONY: e2e
e2e: tools race host ref $(OCPPRPC)/node_modules/.package-lock.json ## the end-to-end tests: start the binaries and watch them from outside
	@scripts/shipped.sh
	@CHARGEYARD_E2E=1 GOFLAGS='$(TEST_FLAGS)' bin/tools/gotestsum --format testname -- -count=1 -timeout 15m -run '^TestUnsyncedWrites$$' ./edge/internal/outbox
	@CHARGEYARD_E2E=1 GOFLAGS='$(TEST_FLAGS)' bin/tools/gotestsum --format testname -- -count=1 -timeout 40m $(E2E)

# Built once for each pinned version.
.PHONY: tools
tools: bin/tools/built ## linter, test printer and vulnerability checker, as pinned in scripts/tools, in bin/tools/

bin/tools/built: scripts/tools/go.mod scripts/tools/go.sum
	@mkdir -p bin/tools
	go -C scripts/tools build -buildvcs=false -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/tools/ tool
	@touch $@
