# Every target runs from the project's root. `make` lists them.
#
# Only Go, git and make are needed for demo, build, test and package. test-real and lint build their tools into
# build/tools from internal/tools; test-azurite also needs node and npm, test-infra needs Terraform and jq.

export CGO_ENABLED ?= 0
GO ?= go
# RACE=-race turns the race detector on; it needs a C compiler.
RACE ?=
ifneq ($(RACE),)
export CGO_ENABLED = 1
endif
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS = -s -w -buildid= -X main.version=$(VERSION)
BUILD = $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
TOOLS = build/tools
REAL = $(GO) -C internal/realtest

.DEFAULT_GOAL := help
.PHONY: help demo build test test-real test-azurite test-browser test-infra soak mutations lint bench package verify fuzz update-ruff clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

demo: build ## start everything embedded, with sample DAGs, and print what to try
	build/dagbucket demo $(DEMO_FLAGS)

build: ## build the command line into build/dagbucket
	$(BUILD) -o build/dagbucket ./functions/dagbucket

test: ## run the tests: in-process, no server, under 5 minutes
	$(GO) vet ./...
	# The syntax checker's machine code, made once, since it takes minutes under the race detector: for tests, and for tests of main packages; and what is too slow there.
	$(GO) test -count=1 -run '^(TestCompile|TestInterpreted)$$' ./internal/pysyntax
	$(GO) run ./internal/pysyntax/compile build/pysyntax/test
	$(GO) test $(RACE) -timeout 12m ./...

test-real: $(TOOLS)/versitygw build/lambda/bootstrap build/lambda-amd64.zip build/lambda-arm64.zip build/cloudfunction/function build/cloudfunction/background build ## run the tests against real servers: S3 (versitygw), the Lambda runtime, Google's functions framework, broken networks
	$(REAL) test $(RACE) -timeout 25m ./...

soak: ## simulate SCHEDULES (default 100000) schedules from SEED on; a failing one is printed with the command that replays it
	$(GO) test -count=1 -timeout 12h -run '^TestSchedules$$' ./internal/simulation -seed $${SEED:-1} -schedules $${SCHEDULES:-100000} $(if $(filter 1,$(SCHEDULES)),-log -v)

mutations: ## switch each clause of the protocol off, one at a time: the simulator must find it
	$(GO) test -tags mutations -timeout 60m -run '^TestMutationsAreCaught$$' -v ./internal/simulation

build/azurite/node_modules/.bin/azurite-blob:
	npm install --prefix build/azurite --no-audit --no-fund --no-save azurite@3.37.0

test-azurite: build/azurite/node_modules/.bin/azurite-blob ## run the upload against Azurite, the Azure Blob emulator (needs node)
	$(REAL) test $(RACE) -tags azurite -timeout 5m ./azurite/...

test-browser: ## open the status page in a headless Chromium (needs Chromium); SCREENSHOTS=<folder> leaves pictures
	@command -v chromium || command -v chromium-browser || command -v google-chrome || { echo "Chromium is needed: install it first (Debian: apt-get install chromium)"; exit 1; }
	$(REAL) test $(RACE) -count=1 -tags browser -timeout 15m ./browser/... # -count: go does not see that Chromium is an input

# The providers of test-infra: by default a stand-in that has their schemas. TERRAFORM_RC=/dev/null takes the real ones from Terraform's registry.
TERRAFORM_RC ?= $(CURDIR)/$(TOOLS)/tfstub/terraform.rc
test-infra: export TF_CLI_CONFIG_FILE = $(TERRAFORM_RC)
$(CURDIR)/$(TOOLS)/tfstub/terraform.rc: $(wildcard internal/tfstub/*.* internal/tfstub/schema/* infra/*/*.tf infra/examples/*/*.tf)
	bash internal/tfstub/setup.sh $(TOOLS)/tfstub infra

test-infra: $(TERRAFORM_RC) $(TOOLS)/tflint ## check the Terraform modules: format, init, validate, test, lint, rules, and their configuration and rights against the code
	@command -v terraform jq >/dev/null || { echo "terraform (1.11 or newer) and jq are needed: install them first"; exit 1; }
	$(TOOLS)/tflint --recursive --chdir infra --config $(CURDIR)/infra/.tflint.hcl --format compact
	$(GO) test -count=1 -tags infra -timeout 15m ./internal/infratest # -count: go does not see that Terraform's files are inputs

lint: $(TOOLS)/staticcheck ## gofmt, vet, staticcheck, import rules, tidy modules
	@test -z "$$(gofmt -l functions internal)" || { gofmt -l functions internal; echo "run: gofmt -w functions internal"; exit 1; }
	$(GO) vet -tags mutations,infra ./... && $(REAL) vet -tags azurite,browser ./...
	$(TOOLS)/staticcheck -tags mutations,infra ./...
	cd internal/realtest && ../../$(TOOLS)/staticcheck -tags azurite,browser ./...
	$(GO) test -count=1 -run 'TestImport|TestEachCloud|TestLambdaLinks' ./internal
	$(GO) mod tidy -diff
	$(REAL) mod tidy -diff

bench: $(TOOLS)/versitygw $(TOOLS)/rclone build/lambda/bootstrap build/cloudfunction/function ## measure the functions, each beside a floor that does the bare work, and beside today's ways (BENCH_FLAGS="-cloud gcp -only 1,000")
	$(REAL) run ./bench $(BENCH_FLAGS)

fuzz: ## fuzz everything that parses, FUZZTIME each (default 30s)
	@set -e; for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n1 dirname | sort -u); do \
		for f in $$($(GO) test -list '^Fuzz' ./$$pkg | grep '^Fuzz'); do \
			echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-30s} -fuzzminimizetime 10x ./$$pkg; done; done

ZIPS = lambda-amd64.zip lambda-arm64.zip cloudfunction.zip
package: $(ZIPS:%=build/%) ## build build/lambda-amd64.zip, build/lambda-arm64.zip and build/cloudfunction.zip, reproducibly

verify: lint package ## lint; the packages are reproducible and small; the demo deploys what was uploaded
	rm -rf build/other && mkdir -p build/other/build/pysyntax
	tar -c --exclude ./build --exclude ./.git -f - . | tar -x -C build/other -f -
	cp -a build/pysyntax/arm64* build/other/build/pysyntax/ # to save a minute of qemu; the same program makes amd64's machine code, anew
	GOCACHE=$(CURDIR)/build/other/cache $(MAKE) -C build/other package VERSION=$(VERSION) # from another folder, and nothing else of the first build is used
	@set -e; for zip in $(ZIPS); do cmp build/$$zip build/other/build/$$zip; \
		test $$(wc -c < build/$$zip) -le 31457280 || { echo "build/$$zip is over 30 MB"; exit 1; }; done
	rm -rf build/other
	$(MAKE) demo DEMO_FLAGS=--once
	$(MAKE) demo DEMO_FLAGS='--cloud gcp --once'

update-ruff: ## store a release of ruff's parser (RUFF=0.17.5; default: the pinned one again), needs npm
	$(GO) run ./internal/pysyntax/updateruff $(RUFF)

clean: ## remove everything that was built
	rm -rf build

# The syntax checker's machine code, and ruff's licence with it. The program that makes it runs on the kind of processor that it is for: this
# machine's, or qemu's. Without either, the packages are built without machine code.
OS := $(shell $(GO) env GOHOSTOS)
ARCH := $(shell $(GO) env GOHOSTARCH)
QEMU = $(if $(filter linux-$*,$(OS)-$(ARCH)),,qemu-$(if $(filter arm64,$*),aarch64,x86_64)-static)
CHECKER = go.mod $(filter-out %_test.go,$(wildcard internal/pysyntax/*.go internal/pysyntax/*/*.go)) $(wildcard internal/pysyntax/ruff/*)
build/pysyntax/amd64.made build/pysyntax/arm64.made: build/pysyntax/%.made: $(CHECKER)
	rm -rf $@ build/pysyntax/$* && mkdir -p build/pysyntax/$* && cp internal/pysyntax/ruff/LICENSE build/pysyntax/$*/
	CGO_ENABLED=0 GOOS=linux GOARCH=$* $(BUILD) -o build/pysyntax/compile-$* ./internal/pysyntax/compile
	@if [ -z '$(QEMU)' ] || command -v $(QEMU) >/dev/null; then set -x; $(QEMU) build/pysyntax/compile-$* build/pysyntax/$* && touch $@; \
	else echo "NOTICE: no machine code of the syntax checker for $*, so that the package checks Python files some fifty times slower: it needs" \
		"Linux on $*, or $(QEMU) (Debian: apt-get install qemu-user-static). Install it, and run make package again."; fi

build/lambda-%.zip: FORCE build/pysyntax/%.made
	CGO_ENABLED=0 GOOS=linux GOARCH=$* $(BUILD) -tags lambda.norpc -o build/lambda-$*/bootstrap ./functions/lambda
	$(GO) run ./internal/lambdazip $@ build/lambda-$*/bootstrap build/pysyntax/$*
	@ls -l $@

# The binary under test is built as for Lambda, for this machine.
.PHONY: build/lambda/bootstrap
build/lambda/bootstrap: build/pysyntax/$(ARCH).made
	CGO_ENABLED=0 $(BUILD) -tags lambda.norpc -o $@ ./functions/lambda
	@ln -sfn ../pysyntax/$(ARCH) build/lambda/pysyntax

# As for Google's builders: source, which `make package` packs and their buildpack builds. Cloud Run's processors are amd64.
.PHONY: FORCE
build/cloudfunction.zip: FORCE build/pysyntax/amd64.made
	@mkdir -p build
	$(GO) run ./internal/functionzip $@ $(VERSION) build/pysyntax/amd64
	@ls -l $@

build/cloudfunction/function build/cloudfunction/background: build/cloudfunction.zip $(wildcard internal/realtest/buildpack/*.go)
	$(REAL) run ./buildfunction $(CURDIR)/$< Dagbucket$(if $(findstring background,$@),Background) $(CURDIR)/$@

$(TOOLS)/versitygw: internal/tools/go.mod internal/tools/go.sum
	$(GO) -C internal/tools build -o ../../$(TOOLS)/ github.com/versity/versitygw/cmd/versitygw
	@touch $@

$(TOOLS)/rclone: internal/tools/go.mod internal/tools/go.sum internal/tools/rclone/main.go
	$(GO) -C internal/tools build -trimpath -ldflags '-s -w' -o ../../$@ ./rclone
	@touch $@

$(TOOLS)/tflint: internal/tools/go.mod internal/tools/go.sum
	$(GO) -C internal/tools build -o ../../$(TOOLS)/ github.com/terraform-linters/tflint
	@touch $@

$(TOOLS)/staticcheck: internal/tools/go.mod internal/tools/go.sum
	$(GO) -C internal/tools build -o ../../$(TOOLS)/ honnef.co/go/tools/cmd/staticcheck
	@touch $@
