# edgewatch: build, check and measure. Everything that CI runs, `make test` runs.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
GO          ?= go
BIN         := $(CURDIR)/bin
LINT        := $(BIN)/golangci-lint
LINT_VERSION := v2.15.0
BLACKBOX    := $(BIN)/blackbox_exporter
BLACKBOX_VERSION := v0.27.0
FUZZTIME    ?= 10m
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     := -s -w -X main.version=$(VERSION)

.PHONY: all build test deps format vet lint cross unit integration lab simulate bench bench-probe figures soak fuzz clean

all: build

## build: the two programs, without cgo, into bin/
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/edgewatch ./cmd/edgewatch
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/edgelab ./cmd/edgelab

## test: all that must hold before anything lands
test: deps format vet cross lint unit integration simulate

## deps: the real servers that integration tests start (Debian; only CI installs)
deps:
	.ci/deps

format:
	@unformatted=$$(gofmt -l cmd watchdog probe actions configs integration); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...
	$(GO) vet -tags integration ./integration/...
	$(GO) mod verify

## cross: the program for Windows, where it may run too
cross:
	CGO_ENABLED=0 GOOS=windows $(GO) build -o /dev/null ./cmd/edgewatch

$(LINT):
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

lint: $(LINT)
	$(LINT) run ./...

## unit: unit tests with the race detector; the import graph is one of them, and every scenario of the lab
unit:
	$(GO) test -race -timeout 10m ./...

## integration: Prosody, ejabberd, BIND, Knot, HAProxy and pywinrm against the product
integration:
	$(GO) test -tags integration -count=1 -timeout 12m ./integration/...

## lab: every scenario as a person would play it, headless, some at once; a line of JSON each. `make test` plays them too, in unit
lab:
	$(GO) run ./cmd/edgelab --scenario all --exit

## simulate: thousands of stories in virtual time, in which everything goes wrong
simulate:
	$(GO) run ./cmd/edgelab simulate --seeds 2000

## bench: ratios against a baseline in the same run; absolute figures depend on the machine
bench: $(BLACKBOX)
	$(GO) test -run '^$$' -bench . -benchmem $$($(GO) list ./... | grep -v '/integration')
	$(GO) test -run '^$$' -bench . -benchtime 3x ./integration/lab
	$(GO) run ./cmd/edgelab simulate --seeds 500
	EDGEWATCH_BLACKBOX=$(BLACKBOX) $(GO) test -tags integration -run '^$$' -bench . -benchtime 1x ./integration

## bench-probe: the probe, the floor and blackbox_exporter against one server, in one table; the cost per probe and of 5,000 addresses
bench-probe: $(BLACKBOX)
	EDGEWATCH_BLACKBOX=$(BLACKBOX) $(GO) test -tags integration -run '^$$' -bench SideBySide -benchtime 1x ./integration
	$(GO) test -run '^$$' -bench . -benchmem ./probe

# As upstream pins it: its own go.mod and go.sum, nothing of this module.
$(BLACKBOX):
	$(GO) mod download github.com/prometheus/blackbox_exporter@$(BLACKBOX_VERSION)
	CGO_ENABLED=0 $(GO) build -C $$($(GO) env GOMODCACHE)/github.com/prometheus/blackbox_exporter@$(BLACKBOX_VERSION) -mod=readonly -buildvcs=false -o $@ .

## fuzz: every fuzz target of the probe for FUZZTIME, with real servers' answers for seeds
fuzz:
	for target in FuzzStream FuzzNames FuzzProbe; do \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s ./probe; \
	done

## soak: what takes too long for every change
soak: fuzz
	$(GO) test -tags integration -count=10 -timeout 60m -run 'TestPrimaryKilled|TestWatchdogKilled|TestSlackFails|TestOwnLineDead|TestPaused' ./integration
	$(GO) run ./cmd/edgelab simulate --seeds 100000
	$(GO) run ./cmd/edgelab simulate --mutants

## figures: false and missed failovers, detection and restoration over 1,000 years, for the README
figures:
	$(GO) run ./cmd/edgelab simulate --years 1000
	$(GO) run ./cmd/edgelab simulate --years 1000 --witness

clean:
	rm -rf $(BIN)
