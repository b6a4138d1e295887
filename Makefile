# braid: what can be done with it. `make help` lists the targets.

# The modules of the workspace. The tools are a module outside of it.
MODULES  := . ./bench ./cmd ./examples
PACKAGES := ./... ./bench/... ./cmd/... ./examples/...
FUZZTIME ?= 10s
DIR      ?= .

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: ## copy a directory (DIR=.) over one connection, beside calls and chats
	go run ./cmd/braid demo $(DIR)

.PHONY: test
test: ## run all tests
	go test $(PACKAGES)

.PHONY: race
race: ## run all tests under the race detector, with 1, 2 and 8 processors
	GOMAXPROCS=2 go test -race $(PACKAGES)
	GOMAXPROCS=1 go test -race -short ./...
	GOMAXPROCS=8 go test -race -short ./...

.PHONY: interop
interop: ## run the tests with storj.io/drpc as the peer
	go test -race -count=1 ./interop ./examples/...

.PHONY: simulate
simulate: ## run 10,000 histories of two ends over a simulated link
	go test -count=1 ./internal/simulation -sim.seeds=10000

.PHONY: faults
faults: ## run 10,000 connections through a proxy that breaks them
	go test -count=1 ./faults -faults.n=10000

.PHONY: hostile
hostile: ## play every abuse against a server, and print what happened
	go test -count=1 -v -run TestHonest ./hostile

.PHONY: fairness
fairness: ## measure small calls beside bulk, for braid and grpc-go
	go run ./bench/cmd/fairness

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@./scripts/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: fmt vet staticcheck imports ## run all checks of the code itself

.PHONY: fmt
fmt: ## check that the code is formatted
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }

.PHONY: vet
vet: ## run go vet, for 64 and 32 bits
	go vet $(PACKAGES)
	GOARCH=386 go vet ./...
	cd tools && GOWORK=off go vet ./...

.PHONY: staticcheck
staticcheck: ## run staticcheck, at the version that tools pins
	GOWORK=off go build -C tools -o ../bin/ honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck $(PACKAGES)

.PHONY: imports
imports: ## check that imports point down and that dependencies stay few
	go test -count=1 ./internal/layers

.PHONY: generate
generate: ## generate the code of the examples' .proto files
	sh examples/generate.sh

.PHONY: bench
bench: ## measure braid beside other stacks, write bench/RESULTS.md and plots (9 minutes)
	go run ./bench/cmd/results

.PHONY: bench-quick
bench-quick: ## measure the main cases of that, and print them (1 minute)
	go run ./bench/cmd/results -quick

.PHONY: bench-go
bench-go: ## run Go's benchmarks six times, for benchstat
	go test -run '^$$' -bench . -count 6 -timeout 60m ./... ./bench/...

.PHONY: bench-once
bench-once: ## run each benchmark once, to see that it works
	go test -run '^$$' -bench . -benchtime 1x ./... ./bench/...

.PHONY: ratios
ratios: ## measure braid and storj.io/drpc in alternation, and print the ratios
	go run ./bench/cmd/ratios

.PHONY: ci
ci: ## do what guards the main branch
	.ci/run
